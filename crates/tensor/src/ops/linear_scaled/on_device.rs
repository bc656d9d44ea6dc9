//! The scaled projection as kernels.

use device::{Buffer, DType};
use gemm::launch::{ColumnScale, Matrix, MatrixMut, gemm, gemm_scaled};
use ia3::Ia3Shape;

use super::{OP, gradients, scratch_to_keep};
use crate::ops::linear::on_device::update_of;
use crate::{Result, Tensor, TensorError, Weight};

/// As [`super::linear_scaled()`], for a dense, frozen base and operands of these sizes. What is stored has the type of `x`, the
/// gradient of the factors is f32.
pub(super) fn linear_scaled(
    x: &Tensor,
    weight: &Weight,
    bias: Option<&Tensor>,
    ia3_l: &Tensor,
    (n, inputs, outputs): (usize, usize, usize),
) -> Result<Tensor> {
    let (dtype, device) = (x.dtype(), x.device());
    let memory = x.on_device(OP, "x", dtype)?;
    let weight = weight.on_device(OP, device, dtype)?.into_dense(OP, dtype)?;
    let mut y = Buffer::scratch(device, dtype, n * outputs)?;
    let mut unscaled = scratch_to_keep(ia3_l, device, dtype, n * outputs)?;
    {
        let factors = ia3_l.on_device(OP, "ia3_l", DType::F32)?;
        let bias = bias.map(|bias| bias.on_device(OP, "bias", dtype)).transpose()?;
        let scale = ColumnScale { factors: &factors, unscaled: unscaled.as_mut().map(Buffer::memory_mut).transpose()? };
        let x = Matrix::new(&memory, dtype, n, inputs);
        let w = weight.matrix().transposed();
        gemm_scaled(x, w, bias.as_ref(), scale, MatrixMut::new(y.memory_mut()?, dtype, n, outputs))
            .map_err(TensorError::kernel(OP))?;
    }
    let unscaled = unscaled.map(|unscaled| Tensor::new([n, outputs], unscaled)).transpose()?;
    let factors = ia3_l.detach();
    Tensor::record(OP, [n, outputs], y, &[x, ia3_l], move |grad_y, sink| {
        let shape = Ia3Shape { num_tokens: n, features: outputs };
        let (grad, grad_l) = gradients(OP, shape, unscaled.as_ref(), &factors, &grad_y, sink.needs(0))?;
        if let Some(grad) = grad {
            let grad = Matrix::new(grad.memory()?, dtype, n, outputs);
            let w = weight.matrix();
            sink.accumulate_on(0, dtype, |grad_x, add| {
                gemm(1.0, grad, w, update_of(add), MatrixMut::new(grad_x, dtype, n, inputs))
                    .map_err(TensorError::kernel(OP))
            })?;
        }
        grad_l.map_or(Ok(()), |grad_l| sink.give(1, grad_l))
    })
}
