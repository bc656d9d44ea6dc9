//! A and B, which all modules share.

use std::collections::BTreeMap;

use checkpoint::{MappedTensor, SafetensorsFile};
use device::{DType, Device};
use tensor::Tensor;

use super::VeraConfig;
use super::torch_random::Generator;
use crate::method::{SavedTensor, Source};
use crate::{PeftError, Problems, names};

/// Their keys in a file.
const KEYS: [&str; 2] = ["base_model.vera_A", "base_model.vera_B"];

/// Both matrices for the largest module, and the parts that modules have asked for.
pub(super) struct Projections {
    /// `[r, max_in]`.
    a: Tensor,
    /// `[max_out, r]`.
    b: Tensor,
    /// Parts of A by their columns.
    a_parts: BTreeMap<usize, Tensor>,
    /// Parts of B by their rows.
    b_parts: BTreeMap<usize, Tensor>,
}

impl Projections {
    /// Drawn as PEFT draws them: uniform in `+-sqrt(6 / fan_in)`. `size` is the largest `[in, out]` of the modules.
    pub(super) fn draw(config: &VeraConfig, size: [usize; 2]) -> Result<Self, PeftError> {
        let [inputs, outputs] = size;
        let mut generator = Generator::new(config.projection_prng_key);
        let mut matrix = |rows: usize, columns: usize| {
            let mut values = vec![0.0; rows * columns];
            // kaiming_uniform_ with a gain of sqrt(2), in the order of operations that Python has.
            let bound = 3f64.sqrt() * (2f64.sqrt() / (columns as f64).sqrt());
            generator.fill_uniform(&mut values, bound as f32);
            Tensor::from_f32([rows, columns], &values)
        };
        let (a, b) = (matrix(config.r, inputs)?, matrix(outputs, config.r)?);
        Ok(Self::new(a, b))
    }

    /// Those that `file` holds; `None` if it holds none and the configuration says so.
    ///
    /// # Errors
    /// [`PeftError::Keys`] if one is missing or misshapen, [`PeftError::Checkpoint`].
    pub(super) fn read(
        config: &VeraConfig,
        [inputs, outputs]: [usize; 2],
        file: &SafetensorsFile,
    ) -> Result<Option<Self>, PeftError> {
        let find = |key: &str| file.tensors().find(|tensor| names::without_adapter_name(tensor.name()) == key);
        let found = KEYS.map(find);
        if let ([None, None], false) = (&found, config.save_projection) {
            return Ok(None);
        }
        let shapes = [[config.r, inputs], [outputs, config.r]];
        let mut problems = Problems::default();
        for ((key, tensor), shape) in KEYS.into_iter().zip(&found).zip(&shapes) {
            match tensor {
                None => problems.missing.push(key.to_owned()),
                Some(tensor) if tensor.shape() != shape => {
                    problems.misshapen.push(format!("{key} is {:?}, expected {shape:?}", tensor.shape()));
                }
                Some(_) => {}
            }
        }
        let values = |tensor: &MappedTensor| Ok::<_, PeftError>(Tensor::from_f32(tensor.shape(), &tensor.to_f32()?)?);
        match &found {
            [Some(a), Some(b)] if problems.is_empty() => Ok(Some(Self::new(values(a)?, values(b)?))),
            _ => Err(PeftError::Keys { path: file.path().to_owned(), problems }),
        }
    }

    fn new(a: Tensor, b: Tensor) -> Self {
        Self { a, b, a_parts: BTreeMap::new(), b_parts: BTreeMap::new() }
    }

    /// The tensors of a file.
    pub(super) fn saved(&self) -> [SavedTensor; 2] {
        let saved = |name: &str, tensor: &Tensor| SavedTensor {
            name: name.to_owned(),
            alias: None,
            source: Source::Base(tensor.clone()),
        };
        [saved(KEYS[0], &self.a), saved(KEYS[1], &self.b)]
    }

    /// The first `inputs` columns of A and the first `outputs` rows of B, on `device`.
    pub(super) fn parts(&mut self, [inputs, outputs]: [usize; 2], device: Device) -> Result<[Tensor; 2], PeftError> {
        let (rank, columns) = self.a.matrix_shape("vera", "vera_A")?;
        let a = part(&mut self.a_parts, inputs, || {
            let values = self.a.to_vec();
            let rows = values.chunks_exact(columns.max(1));
            let first: Vec<f32> = rows.flat_map(|row| row[..inputs].iter().copied()).collect();
            Tensor::from_f32([rank, inputs], &first)?.to_device(device, DType::F32)
        })?;
        let b = part(&mut self.b_parts, outputs, || {
            Tensor::from_f32([outputs, rank], &self.b.to_vec()[..outputs * rank])?.to_device(device, DType::F32)
        })?;
        Ok([a, b])
    }
}

/// The part of this size, made where no module has asked for it yet.
fn part(
    parts: &mut BTreeMap<usize, Tensor>,
    size: usize,
    make: impl FnOnce() -> tensor::Result<Tensor>,
) -> Result<Tensor, PeftError> {
    if let Some(part) = parts.get(&size) {
        return Ok(part.clone());
    }
    let part = make()?;
    parts.insert(size, part.clone());
    Ok(part)
}
