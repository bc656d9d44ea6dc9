//! PiSSA and OLoRA: an adapter that starts as a part of the weights, `s B0 A0`, which is taken out of the base.
//!
//! The base itself is not changed: `y = (W - s B0 A0) x + b + s B (A drop(x))`, with `A = A0` and `B = B0` at the start. So a new
//! adapter is saved as what it adds to the base as it was, plain LoRA of twice the rank, `[A; A0]` and `[B, -B0]`: what PEFT's
//! `save_pretrained(path_initial_model_for_weight_conversion=...)` writes. An adapter that PEFT saved without that option has A
//! and B alone, and where it is loaded its part is taken out of the base again, as PEFT does; it is saved again in that form.
//!
//! PEFT rounds `W - s B0 A0` to the dtype of the base. Here it is not rounded.
//!
//! Sources: Meng et al. 2024, "PiSSA: Principal Singular Values and Singular Vectors Adaptation"; Büyükakyüz 2024, "OLoRA:
//! Orthonormal Low-Rank Adaptation".

use device::philox::Stream;
use device::{DType, Device};
use gemm::{Matrix, MatrixMut, Update, gemm};
use lora::Dropout;
use model::{Base, Module, ModuleKind};
use nalgebra::DMatrix;
use tensor::ops::{self, LoraOperands};
use tensor::{Layout, Result, Tensor, Weight};

use super::decompose::{Factors, leading, principal, principal_by_iteration};
use super::plan::PlannedSite;
use super::{InitLoraWeights, Site};
use crate::method::{Computed, SavedTensor, Source};
use crate::{PeftError, finite, init, names};

/// What was taken out of the weight of one module.
#[derive(Clone)]
pub(super) struct BasePart {
    /// A0, `[r, in]`.
    pub(super) a: Tensor,
    /// -B0, `[out, r]`.
    pub(super) minus_b: Tensor,
}

impl BasePart {
    /// The part that `config` asks for; `None` if it asks for none, and for embeddings, of which PEFT takes none. `stream`
    /// draws what an iteration starts from.
    pub(super) fn of(
        init: InitLoraWeights,
        base: &Base,
        module: &Module,
        site: &PlannedSite,
        seed: u64,
    ) -> Result<Option<Self>, PeftError> {
        let ModuleKind::Linear { in_features, out_features, layout } = module.kind else { return Ok(None) };
        if !init.takes_from_base() {
            return Ok(None);
        }
        if site.rank > in_features.min(out_features) {
            let limit = in_features.min(out_features);
            let reason = format!("{} of {} is more than its weight has, {limit}", site.rank, module.path);
            return Err(PeftError::Setting { key: "r", reason });
        }
        // Where steps are only planned, weights have no values, and taking them apart would take the time that it takes.
        if let Device::Dry(_) = base.device() {
            let (b, a) = (DMatrix::zeros(out_features, site.rank), DMatrix::zeros(site.rank, in_features));
            return Ok(Some(Self::new(&Factors { b, a }, base.device())?));
        }
        let weight = base.parameter(module.weight)?;
        finite::check(&module.path, &weight)?;
        let values = weight.to_vec().into_iter().map(f64::from);
        let weight = match layout {
            Layout::OutIn => DMatrix::from_row_iterator(out_features, in_features, values),
            // Stored by rows of inputs: the transpose, by columns.
            Layout::InOut => DMatrix::from_iterator(out_features, in_features, values),
        };
        let scaling = f64::from(site.scaling);
        let factors = match init {
            InitLoraWeights::Pissa { iterations: None } => principal(weight, site.rank, scaling),
            InitLoraWeights::Pissa { iterations: Some(iterations) } => {
                let stream = Stream::new(seed, init::INIT_STEP, module.id.index() as u32);
                principal_by_iteration(&weight, site.rank, scaling, iterations, &stream)
            }
            _ => leading(&weight, site.rank),
        };
        Ok(Some(Self::new(&factors, base.device())?))
    }

    /// The factors on `device`.
    fn new(Factors { b, a }: &Factors, device: Device) -> Result<Self> {
        let minus_b: Vec<f32> = row_major(b).iter().map(|value| -value).collect();
        let constant = |matrix: &DMatrix<f64>, values: &[f32]| {
            Tensor::from_f32([matrix.nrows(), matrix.ncols()], values)?.to_device(device, DType::F32)
        };
        Ok(Self { a: constant(a, &row_major(a))?, minus_b: constant(b, &minus_b)? })
    }

    /// B0 and A0, which a new adapter starts as.
    pub(super) fn start(&self) -> [Vec<f32>; 2] {
        [self.minus_b.to_vec().iter().map(|value| -value).collect(), self.a.to_vec()]
    }

    /// One projection: the base without the part, and the adapter.
    pub(super) fn linear(
        &self,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        site: &Site,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let (a, b) = (self.a.clone(), self.minus_b.clone());
        let part = LoraOperands { a, b, bias: None, scaling: site.scaling, dropout: None };
        let rest = ops::lora_linear(x, weight, bias, &part)?;
        let dense = |tensor: &Tensor| Weight::dense(tensor.clone(), Layout::OutIn);
        let x = dropout.map_or_else(|| Ok(x.clone()), |dropout| ops::dropout(x, dropout))?;
        let low = ops::scale(&ops::linear(&x, &dense(&site.lora_a)?, None)?, site.scaling)?; // [num_tokens, r]
        ops::add(&rest, &ops::linear(&low, &dense(&site.lora_b)?, None)?)
    }

    /// Takes the part out of the weight `values`.
    pub(super) fn merge(&self, site: &Site, layout: Layout, values: &mut [f32]) -> Result<(), PeftError> {
        let (a, b) = (self.a.read(), self.minus_b.read());
        let a = Matrix::new(a.elements(), self.a.shape()[0], self.a.shape()[1]);
        let b = Matrix::new(b.elements(), self.minus_b.shape()[0], self.minus_b.shape()[1]);
        let (left, right) = match layout {
            Layout::OutIn => (b, a),
            Layout::InOut => (a.transposed(), b.transposed()),
        };
        let (rows, columns) = (left.rows(), right.cols());
        Ok(gemm(site.scaling, left, right, Update::Accumulate, MatrixMut::new(values, rows, columns))?)
    }

    /// `[A; A0]` and `[B, -B0]` of `module`, in place of A and B.
    pub(super) fn saved(&self, site: &Site, module: &Module) -> [SavedTensor; 2] {
        let computed = |suffix: &str, computed| SavedTensor {
            name: names::key(&module.path, suffix),
            alias: None,
            source: Source::Computed(computed),
        };
        let (rank, inputs) = (self.a.shape()[0], self.a.shape()[1]);
        let outputs = self.minus_b.shape()[0];
        let (a, start) = (site.lora_a.clone(), self.a.clone());
        let a = Computed::new([2 * rank, inputs], move || {
            Tensor::from_f32([2 * rank, inputs], &[a.to_vec(), start.to_vec()].concat())
        });
        let (b, start) = (site.lora_b.clone(), self.minus_b.clone());
        let b = Computed::new([outputs, 2 * rank], move || {
            let (b, start) = (b.to_vec(), start.to_vec());
            let rows = b.chunks_exact(rank).zip(start.chunks_exact(rank));
            let joined: Vec<f32> = rows.flat_map(|(b, start)| [b, start].concat()).collect();
            Tensor::from_f32([outputs, 2 * rank], &joined)
        });
        [computed("lora_A.weight", a), computed("lora_B.weight", b)]
    }
}

/// The elements row by row, in f32.
pub(super) fn row_major(matrix: &DMatrix<f64>) -> Vec<f32> {
    // Columns of the transpose lie one after another.
    matrix.transpose().iter().map(|value| *value as f32).collect()
}
