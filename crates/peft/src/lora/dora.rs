//! Weight-decomposed adaptation (`use_dora`): the rows of `W + s B A` are brought to learned norms m.
//!
//! `y = g * (x W^T + s x A^T B^T) + b` with `g[o] = m[o] / |(W + s B A)[o]|`, the norm taken as a constant. With dropout, as PEFT
//! computes it, the base sees the whole input and what the norms change of it the dropped one:
//! `y = (x - drop(x)) W^T + b + g * (drop(x) W^T + s drop(x) A^T B^T)`.
//!
//! Source: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", sections 4.1 and 4.3.

use std::sync::{Mutex, PoisonError};

use model::{Base, Module, ModuleKind};
use tensor::ops::{self, LoraOperands, OutputSquares};
use tensor::{Layout, Parameters, Result, Tensor, Weight};

use super::Site;
use crate::save::transpose;
use crate::{PeftError, finite};

/// The learned norms of one module, and those that its weights have.
pub(super) struct Dora {
    /// m, `[out]`.
    pub(super) magnitude: Tensor,
    /// `|W[o]|^2`.
    squares: OutputSquares,
    /// `|(W + s B A)[o]|`, and the version of the parameters that it belongs to.
    norm: Mutex<Option<(u64, Tensor)>>,
}

impl Dora {
    pub(super) fn new(magnitude: Tensor, base: &Base, module: &Module) -> Result<Self, PeftError> {
        let squares = ops::output_squares(&weight_of(base, module)?, magnitude.device())?;
        Ok(Self { magnitude, squares, norm: Mutex::new(None) })
    }

    /// One projection.
    pub(super) fn linear(
        &self,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        operands: LoraOperands,
        parameters: &Parameters,
    ) -> Result<Tensor> {
        let norm = self.norm(weight, &operands.a, &operands.b, operands.scaling, parameters)?;
        let Some(dropout) = operands.dropout else {
            let z = ops::lora_linear(x, weight, None, &operands)?;
            return ops::dora_scale(&z, &self.magnitude, &norm, bias);
        };
        let dropped = ops::dropout(x, dropout)?;
        let z = ops::lora_linear(&dropped, weight, None, &LoraOperands { dropout: None, ..operands })?;
        let scaled = ops::dora_scale(&z, &self.magnitude, &norm, None)?;
        let difference = ops::add(x, &ops::scale(&dropped, -1.0)?)?;
        ops::add(&ops::linear(&difference, weight, bias)?, &scaled)
    }

    /// Rows of an embedding: `rows` are those of the table with the update, each of `[dim]`.
    pub(super) fn embedding(
        &self,
        rows: &Tensor,
        table: &Tensor,
        site: &Site,
        parameters: &Parameters,
    ) -> Result<Tensor> {
        let weight = Weight::dense(table.clone(), Layout::InOut)?;
        let norm = self.norm(&weight, &as_rows(&site.lora_a)?, &site.lora_b, site.scaling, parameters)?;
        ops::dora_scale(rows, &self.magnitude, &norm, None)
    }

    /// Brings the outputs of the merged weight `values` to the learned norms.
    pub(super) fn merge(&self, module: &Module, values: &mut [f32]) -> Result<(), PeftError> {
        finite::check(&module.path, &self.magnitude)?;
        let magnitude = self.magnitude.to_vec();
        let outputs = magnitude.len();
        // Where an element's output is: its row, or its column.
        let columns = values.len() / outputs.max(1);
        let output = |i: usize| if layout(module) == Layout::OutIn { i / columns.max(1) } else { i % outputs.max(1) };
        let mut squares = vec![0.0f64; outputs];
        values.iter().enumerate().for_each(|(i, value)| squares[output(i)] += f64::from(*value).powi(2));
        let factors: Vec<f32> = magnitude.iter().zip(squares).map(|(m, square)| m / square.sqrt() as f32).collect();
        values.iter_mut().enumerate().for_each(|(i, value)| *value *= factors[output(i)]);
        Ok(())
    }

    /// The norms that the weights have; computed once for each state of the parameters.
    fn norm(&self, weight: &Weight, a: &Tensor, b: &Tensor, scaling: f32, parameters: &Parameters) -> Result<Tensor> {
        let version = parameters.version();
        // Whoever panicked here left a norm of some version, or none.
        let mut kept = self.norm.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, norm)) if *of == version => Ok(norm.clone()),
            _ => {
                let norm = ops::low_rank_norm(weight, &self.squares, a, b, scaling)?;
                *kept = Some((version, norm.clone()));
                Ok(norm)
            }
        }
    }
}

impl Site {
    /// The norms that a new adapter starts with: those that its weights have.
    pub(super) fn starting_magnitude(&self, base: &Base, module: &Module) -> Result<Option<Vec<f32>>, PeftError> {
        let Some(dora) = &self.dora else { return Ok(None) };
        let weight = weight_of(base, module)?;
        let a = match module.kind {
            ModuleKind::Embedding { .. } => as_rows(&self.lora_a)?,
            _ => self.lora_a.clone(),
        };
        Ok(Some(ops::low_rank_norm(&weight, &dora.squares, &a, &self.lora_b, self.scaling)?.to_vec()))
    }
}

/// A of an embedding, kept as `[vocab, r]`, as `[r, vocab]`.
fn as_rows(lora_a: &Tensor) -> Result<Tensor> {
    let (vocab_size, rank) = lora_a.matrix_shape("dora", "lora_embedding_A")?;
    Tensor::from_f32([rank, vocab_size], &transpose(&lora_a.to_vec(), rank))?.to_device(lora_a.device(), lora_a.dtype())
}

/// The weight of a module as the base holds it, which is where the norms are computed.
fn weight_of(base: &Base, module: &Module) -> Result<Weight, PeftError> {
    match base.quantized(module.weight) {
        Some(matrix) => Ok(Weight::Nf4(matrix.clone())),
        None => Ok(Weight::dense(base.parameter(module.weight)?, layout(module))?),
    }
}

/// How the weight of a module lies in memory; that of an embedding has its outputs in columns.
fn layout(module: &Module) -> Layout {
    match module.kind {
        ModuleKind::Linear { layout, .. } => layout,
        ModuleKind::Embedding { .. } | ModuleKind::Norm { .. } | ModuleKind::Conv2d { .. } | ModuleKind::Parameter => {
            Layout::InOut
        }
    }
}

#[cfg(test)]
mod tests {
    use ::lora::Dropout;
    use device::Device;
    use device::philox::Stream;

    use super::*;

    fn tensor(shape: &[usize], seed: u64) -> Tensor {
        let stream = Stream::new(seed, 0, 0);
        let values: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(|i| stream.normal(i)).collect();
        Tensor::from_f32(shape, &values).unwrap()
    }

    #[test]
    fn with_dropout_it_is_what_peft_computes() {
        let (inputs, outputs, rank, scaling) = (6, 5, 2, 0.5);
        let (x, w, bias) = (tensor(&[4, inputs], 1), tensor(&[outputs, inputs], 2), tensor(&[outputs], 3));
        let (a, b, magnitude) = (tensor(&[rank, inputs], 4), tensor(&[outputs, rank], 5), tensor(&[outputs], 6));
        let dropout = Dropout::new(0.5, Stream::new(7, 1, 2)).unwrap();
        let weight = Weight::dense(w.clone(), Layout::OutIn).unwrap();
        let squares = ops::output_squares(&weight, Device::Cpu).unwrap();
        let dora = Dora { magnitude: magnitude.clone(), squares, norm: Mutex::new(None) };
        let operands = LoraOperands { a: a.clone(), b: b.clone(), bias: None, scaling, dropout: Some(dropout) };
        let none = Parameters::zeros([]).unwrap();
        let got = dora.linear(&x, &weight, Some(&bias), operands, &none).unwrap().to_vec();

        // W x + b + (g - 1) W drop(x) + g s B A drop(x)
        let dropped = ops::dropout(&x, dropout).unwrap();
        let product = |x: &Tensor, w: &Tensor| ops::linear(x, &Weight::dense(w.clone(), Layout::OutIn)?, None);
        let norm = ops::low_rank_norm(&weight, &dora.squares, &a, &b, scaling).unwrap().to_vec();
        let base = product(&x, &w).unwrap().to_vec();
        let base_dropped = product(&dropped, &w).unwrap().to_vec();
        let update = product(&product(&dropped, &a).unwrap(), &b).unwrap().to_vec();
        for (i, got) in got.iter().enumerate() {
            let g = magnitude.to_vec()[i % outputs] / norm[i % outputs];
            let expected = base[i] + bias.to_vec()[i % outputs] + (g - 1.0) * base_dropped[i] + g * scaling * update[i];
            // The same numbers, added in another order.
            assert!((got - expected).abs() <= 1e-5, "{i}: {got} {expected}");
        }
    }
}
