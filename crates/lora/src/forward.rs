//! `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`.

use device::{Elements, parallel};
use gemm::{Matrix, Update, gemm};

use crate::shape::{check, check_optional, matrix, matrix_mut};
use crate::{Adapter, LoraError, LoraShape};

/// Rows of `y` whose start values are written as one piece of work.
const ROWS: usize = 32;

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[num_tokens, in_features]`.
    pub x: &'a [f32],
    /// The base weight, `[out_features, in_features]` in any dtype. A weight stored `[in_features, out_features]`, as GPT-2's
    /// `Conv1D`, is given as its transpose.
    pub weight: Matrix<'a>,
    /// The base bias, `[out_features]`.
    pub bias: Option<Elements<'a>>,
    /// The trainable side.
    pub adapter: Adapter<'a>,
    /// `[num_tokens, out_features]`, overwritten.
    pub y: &'a mut [f32],
    /// `drop(x) A^T`, `[num_tokens, rank]`, overwritten: kept for [`backward`](crate::backward).
    pub s: &'a mut [f32],
}

/// Computes `y` and `s`. The low-rank product is added straight into `y`; there is no second array of its size.
///
/// # Errors
/// [`LoraError::Length`] and [`LoraError::WeightShape`] name an argument that does not have its shape;
/// [`LoraError::Device`] or [`LoraError::Gemm`] if there is no memory.
pub fn forward(shape: &LoraShape, arguments: Forward<'_>) -> Result<(), LoraError> {
    let Forward { x, weight, bias, adapter, y, s } = arguments;
    check("x", shape.x(), x.len())?;
    shape.check_weight(&weight)?;
    check_optional("bias", shape.bias(), bias.map(|b| b.len()))?;
    adapter.check(shape)?;
    check("y", shape.y(), y.len())?;
    check("s", shape.s(), s.len())?;

    let dropped = adapter.active_dropout().map(|dropout| dropout.apply(x)).transpose()?;
    let dropped = dropped.as_ref().map_or(Ok(x), |buffer| buffer.f32())?;
    let lora_a = matrix(adapter.lora_a, shape.a()).transposed();
    gemm(1.0, matrix(dropped, shape.x()), lora_a, Update::Overwrite, matrix_mut(s, shape.s()))?;
    let update = fill_bias(bias, adapter.lora_bias, adapter.scaling, shape.out_features(), y);
    gemm(1.0, matrix(x, shape.x()), weight.transposed(), update, matrix_mut(y, shape.y()))?;
    let lora_b = matrix(adapter.lora_b, shape.b()).transposed();
    gemm(adapter.scaling, matrix(s, shape.s()), lora_b, Update::Accumulate, matrix_mut(y, shape.y()))?;
    Ok(())
}

/// Writes `bias + scaling lora_bias` to every row, if there is one; tells how the product goes in.
fn fill_bias(
    bias: Option<Elements<'_>>,
    lora_bias: Option<&[f32]>,
    scaling: f32,
    out_features: usize,
    y: &mut [f32],
) -> Update {
    if bias.is_none() && lora_bias.is_none() {
        return Update::Overwrite;
    }
    parallel::rows_mut(y, out_features, ROWS, |_, rows| {
        let (first, rest) = rows.split_at_mut(out_features);
        match bias {
            Some(bias) => bias.widen_into(first),
            None => first.fill(0.0),
        }
        if let Some(lora_bias) = lora_bias {
            first.iter_mut().zip(lora_bias).for_each(|(y, b)| *y += scaling * b);
        }
        rest.chunks_exact_mut(out_features).for_each(|row| row.copy_from_slice(first));
    });
    Update::Accumulate
}
