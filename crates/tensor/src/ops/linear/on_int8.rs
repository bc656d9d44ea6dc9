//! Projections with a weight in 8-bit integers, on the CPU.

use device::{Buffer, DType};
use gemm::Matrix;
use int8::{GradX, Linear};

use super::{add_parent, give_bias_gradient, widened};
use crate::int8_matrix::Int8Matrix;
use crate::{Result, Sink, Tensor, TensorError};

/// As [`super::linear`].
pub(super) fn linear(
    x: &Tensor,
    weight: &Int8Matrix,
    bias: Option<&Tensor>,
    (n, outputs): (usize, usize),
) -> Result<Tensor> {
    let mut y = Buffer::scratch(x.device(), DType::F32, n * outputs)?;
    project(super::OP, x, weight, bias, y.f32_mut()?)?;
    let mut parents = vec![x];
    let bias_index = add_parent(&mut parents, bias);
    let weight = weight.clone();
    let precision = x.precision();
    Tensor::record(super::OP, [n, outputs], y, &parents, move |grad_y, sink| {
        give_input_gradient(super::OP, sink, &weight, grad_y.f32()?)?;
        let grad_y = Matrix::new(grad_y.f32()?, n, outputs).rounded_to(precision);
        bias_index.map_or(Ok(()), |index| give_bias_gradient(super::OP, sink, index, grad_y))
    })
}

/// Writes `y = x W^T + bias`.
pub(in crate::ops) fn project(
    op: &'static str,
    x: &Tensor,
    weight: &Int8Matrix,
    bias: Option<&Tensor>,
    y: &mut [f32],
) -> Result<()> {
    let (x, bias) = (x.read(), bias.map(widened).transpose()?);
    let (x, bias) = (x.f32(op, "x")?, bias.as_ref().map(|bias| bias.f32()).transpose()?);
    let (weight, num_tokens) = (weight.operand(), y.len() / weight.shape()[0].max(1));
    int8::linear(num_tokens, Linear { x, weight, bias, y }).map_err(TensorError::kernel(op))
}

/// Gives `dY W` to input 0.
pub(in crate::ops) fn give_input_gradient(
    op: &'static str,
    sink: &mut Sink<'_>,
    weight: &Int8Matrix,
    grad_y: &[f32],
) -> Result<()> {
    let (weight, num_tokens) = (weight.operand(), grad_y.len() / weight.shape()[0].max(1));
    sink.accumulate(0, |grad_x, add| {
        int8::grad_x(num_tokens, GradX { grad_y, weight, grad_x, add }).map_err(TensorError::kernel(op))
    })
}
