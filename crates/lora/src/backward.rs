//! Gradients of the projection, from `dY` and what the forward pass saved:
//!
//! ```text
//! dS        = scaling dY B                    [num_tokens, rank]
//! dX        = dY W + mask / (1 - p) * (dS A)
//! dA        = dS^T drop(x)
//! dB        = scaling dY^T s
//! dbias     = column sums of dY
//! dlorabias = scaling * column sums of dY
//! ```

use device::{Buffer, DType, Device};
use gemm::{Matrix, Update, gemm};

use crate::shape::{check, check_optional, matrix, matrix_mut};
use crate::{Adapter, LoraError, LoraShape};

/// Arguments of [`backward`]. A gradient that is left out costs nothing.
#[derive(Debug)]
pub struct Backward<'a> {
    /// As in the forward pass.
    pub x: &'a [f32],
    /// As in the forward pass.
    pub weight: Matrix<'a>,
    /// As in the forward pass.
    pub adapter: Adapter<'a>,
    /// As the forward pass wrote it.
    pub s: &'a [f32],
    /// `dY`, `[num_tokens, out_features]`.
    pub grad_y: &'a [f32],
    /// `dX`, `[num_tokens, in_features]`, overwritten.
    pub grad_x: Option<&'a mut [f32]>,
    /// `dA`, `[rank, in_features]`, added to.
    pub grad_a: Option<&'a mut [f32]>,
    /// `dB`, `[out_features, rank]`, added to.
    pub grad_b: Option<&'a mut [f32]>,
    /// The base bias' gradient, `[out_features]`, added to.
    pub grad_bias: Option<&'a mut [f32]>,
    /// The gradient of `lora_bias`, `[out_features]`, added to.
    pub grad_lora_bias: Option<&'a mut [f32]>,
}

/// Computes the gradients that are asked for.
///
/// # Errors
/// [`LoraError::Length`] and [`LoraError::WeightShape`] name an argument that does not have its shape;
/// [`LoraError::Device`] or [`LoraError::Gemm`] if there is no memory.
pub fn backward(shape: &LoraShape, arguments: Backward<'_>) -> Result<(), LoraError> {
    let Backward { x, weight, adapter, s, grad_y, grad_x, grad_a, grad_b, grad_bias, grad_lora_bias } = arguments;
    check("x", shape.x(), x.len())?;
    shape.check_weight(&weight)?;
    adapter.check(shape)?;
    check("s", shape.s(), s.len())?;
    check("grad_y", shape.y(), grad_y.len())?;
    check_optional("grad_x", shape.x(), grad_x.as_ref().map(|g| g.len()))?;
    check_optional("grad_a", shape.a(), grad_a.as_ref().map(|g| g.len()))?;
    check_optional("grad_b", shape.b(), grad_b.as_ref().map(|g| g.len()))?;
    check_optional("grad_bias", shape.bias(), grad_bias.as_ref().map(|g| g.len()))?;
    check_optional("grad_lora_bias", shape.bias(), grad_lora_bias.as_ref().map(|g| g.len()))?;

    let dropout = adapter.active_dropout();
    let grad_y_matrix = matrix(grad_y, shape.y());

    if grad_x.is_some() || grad_a.is_some() {
        let mut grad_s = scratch(shape.s())?;
        let lora_b = matrix(adapter.lora_b, shape.b());
        gemm(adapter.scaling, grad_y_matrix, lora_b, Update::Overwrite, matrix_mut(grad_s.f32_mut()?, shape.s()))?;
        let grad_s = matrix(grad_s.f32()?, shape.s());
        if let Some(grad_x) = grad_x {
            gemm(1.0, grad_y_matrix, weight, Update::Overwrite, matrix_mut(grad_x, shape.x()))?;
            let lora_a = matrix(adapter.lora_a, shape.a());
            match dropout {
                None => gemm(1.0, grad_s, lora_a, Update::Accumulate, matrix_mut(grad_x, shape.x()))?,
                Some(dropout) => {
                    let mut delta = scratch(shape.x())?;
                    gemm(1.0, grad_s, lora_a, Update::Overwrite, matrix_mut(delta.f32_mut()?, shape.x()))?;
                    dropout.apply_add(delta.f32()?, grad_x);
                }
            }
        }
        if let Some(grad_a) = grad_a {
            let dropped = dropout.map(|dropout| dropout.apply(x)).transpose()?;
            let dropped = matrix(dropped.as_ref().map_or(Ok(x), |buffer| buffer.f32())?, shape.x());
            gemm(1.0, grad_s.transposed(), dropped, Update::Accumulate, matrix_mut(grad_a, shape.a()))?;
        }
    }
    if let Some(grad_b) = grad_b {
        let s = matrix(s, shape.s());
        gemm(adapter.scaling, grad_y_matrix.transposed(), s, Update::Accumulate, matrix_mut(grad_b, shape.b()))?;
    }
    if let Some(grad_bias) = grad_bias {
        add_column_sums(1.0, grad_y_matrix, grad_bias)?;
    }
    if let Some(grad_lora_bias) = grad_lora_bias {
        add_column_sums(adapter.scaling, grad_y_matrix, grad_lora_bias)?;
    }
    Ok(())
}

fn scratch([rows, cols]: [usize; 2]) -> Result<Buffer, LoraError> {
    Ok(Buffer::scratch(Device::Cpu, DType::F32, rows * cols)?)
}

/// `out += factor 1^T values`: a product with a row of ones, which reads the values once.
fn add_column_sums(factor: f32, values: Matrix<'_>, out: &mut [f32]) -> Result<(), LoraError> {
    let mut ones = scratch([1, values.rows()])?;
    ones.f32_mut()?.fill(1.0);
    let ones = matrix(ones.f32()?, [1, values.rows()]);
    Ok(gemm(factor, ones, values, Update::Accumulate, matrix_mut(out, [1, values.cols()]))?)
}
