//! `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`.

use device::{Buffer, DType, Device, Elements};
use gemm::{Matrix, Update, gemm, sum_of_products};

use crate::shape::{check, check_optional, matrix, matrix_mut};
use crate::{Adapter, Input, LoraError, LoraShape};

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `x`; several projections may share it.
    pub input: &'a Input<'a>,
    /// The base weight, `[out_features, in_features]` in any dtype. A weight stored `[in_features, out_features]`, as GPT-2's
    /// `Conv1D`, is given as its transpose. `None` if `y` holds `x W^T` already.
    pub weight: Option<Matrix<'a>>,
    /// The base bias, `[out_features]`.
    pub bias: Option<Elements<'a>>,
    /// The trainable side.
    pub adapter: Adapter<'a>,
    /// `[num_tokens, out_features]`, overwritten; added to without a weight.
    pub y: &'a mut [f32],
    /// `scaling drop(x) A^T`, `[num_tokens, rank]`, overwritten: kept for [`Backward`](crate::Backward).
    pub s: &'a mut [f32],
}

/// Computes `y` and `s`. Both products are summed before `y` is written; there is no second array of its size.
///
/// # Errors
/// [`LoraError::Length`] and [`LoraError::WeightShape`] name an argument that does not have its shape;
/// [`LoraError::Device`] or [`LoraError::Gemm`] if there is no memory.
pub fn forward(shape: &LoraShape, arguments: Forward<'_>) -> Result<(), LoraError> {
    let Forward { input, weight, bias, adapter, y, s } = arguments;
    input.check(shape)?;
    weight.as_ref().map_or(Ok(()), |weight| shape.check_weight(weight))?;
    check_optional("bias", shape.bias(), bias.map(|b| b.len()))?;
    adapter.check(shape)?;
    check("y", shape.y(), y.len())?;
    check("s", shape.s(), s.len())?;

    let dropped = adapter.active_dropout().map(|dropout| input.dropped(dropout)).transpose()?;
    let operand = |elements, shape| matrix(elements, shape).rounded_to(input.precision());
    let x = match &dropped {
        Some(dropped) => operand(dropped.f32()?, shape.x()),
        None => input.matrix(),
    };
    let lora_a = operand(adapter.lora_a, shape.a()).transposed();
    gemm(adapter.scaling, x, lora_a, Update::Overwrite, matrix_mut(s, shape.s()))?;
    let bias = joint_bias(bias, &adapter, shape.out_features())?;
    let delta = (operand(s, shape.s()), operand(adapter.lora_b, shape.b()).transposed());
    let Some(weight) = weight else {
        if let Some(bias) = &bias {
            let bias = bias.f32()?;
            y.chunks_exact_mut(bias.len()).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias));
        }
        gemm(1.0, delta.0, delta.1, Update::Accumulate, matrix_mut(y, shape.y()))?;
        return Ok(());
    };
    let update = match &bias {
        Some(bias) => Update::Bias(bias.f32()?),
        None => Update::Overwrite,
    };
    let base = (input.matrix(), weight.transposed());
    sum_of_products(1.0, &[base, delta], update, matrix_mut(y, shape.y()))?;
    Ok(())
}

/// `bias + scaling lora_bias`, if there is one of them.
fn joint_bias(bias: Option<Elements<'_>>, adapter: &Adapter<'_>, len: usize) -> Result<Option<Buffer>, LoraError> {
    if bias.is_none() && adapter.lora_bias.is_none() {
        return Ok(None);
    }
    let mut joint = Buffer::scratch(Device::Cpu, DType::F32, len)?;
    let out = joint.f32_mut()?;
    match bias {
        Some(bias) => bias.widen_into(out),
        None => out.fill(0.0),
    }
    if let Some(lora_bias) = adapter.lora_bias {
        out.iter_mut().zip(lora_bias).for_each(|(out, b)| *out += adapter.scaling * b);
    }
    Ok(Some(joint))
}
