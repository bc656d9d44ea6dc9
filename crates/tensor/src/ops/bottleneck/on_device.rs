//! The adapter as kernels.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use gemm::launch::{Matrix, MatrixMut, column_sums, gemm};
use transformer::Activation;
use transformer::broadcast::Shape;
use transformer::launch::{activation as kernel, broadcast};

use super::{BottleneckOperands, OP, Sizes, parents};
use crate::ops::linear::on_device::update_of;
use crate::{Result, Tensor, TensorError};

/// As [`super::bottleneck`]. Sums are f32; what is stored has the type of `x`, gradients of the weights and biases are f32.
pub(super) fn bottleneck(
    x: &Tensor,
    addend: Option<&Tensor>,
    operands: &BottleneckOperands,
    sizes: Sizes,
) -> Result<Tensor> {
    let Sizes { tokens, hidden, inner } = sizes;
    let (device, dtype, kernel_error) = (x.device(), x.dtype(), TensorError::kernel(OP));
    let BottleneckOperands { activation, scaling, .. } = *operands;
    let read =
        |argument, tensor: Option<&Tensor>| tensor.map(|tensor| tensor.on_device(OP, argument, dtype)).transpose();
    let (memory, down) = (x.on_device(OP, "x", dtype)?, operands.down.on_device(OP, "down", dtype)?);
    let up = operands.up.on_device(OP, "up", dtype)?;
    let down_bias = read("down_bias", operands.down_bias.as_ref())?;
    let up_bias = read("up_bias", operands.up_bias.as_ref())?;

    let mut z = Buffer::scratch(device, dtype, tokens * inner)?;
    let update = down_bias.as_ref().map_or(update_of(false), gemm::launch::Update::Bias);
    let product = MatrixMut::new(z.memory_mut()?, dtype, tokens, inner);
    let of_down = Matrix::new(&down, dtype, inner, hidden);
    gemm(1.0, Matrix::new(&memory, dtype, tokens, hidden), of_down.transposed(), update, product)
        .map_err(TensorError::kernel(OP))?;
    let a = activated(activation, &z)?;
    let mut y = Buffer::scratch(device, dtype, tokens * hidden)?;
    let addend_memory = read("addend", addend)?;
    let shape = Shape { rows: tokens, columns: hidden };
    let joins = start(shape, dtype, addend_memory.as_ref(), up_bias.as_ref(), scaling, y.memory_mut()?)?;
    let product = MatrixMut::new(y.memory_mut()?, dtype, tokens, hidden);
    let of_up = Matrix::new(&up, dtype, hidden, inner);
    gemm(scaling, Matrix::new(a.memory()?, dtype, tokens, inner), of_up.transposed(), update_of(joins), product)
        .map_err(&kernel_error)?;

    let constant = x.detach();
    Tensor::record(OP, x.shape(), y, &parents(x, addend, operands, &constant), move |grad_y, sink| {
        let x = Matrix::new(&memory, dtype, tokens, hidden);
        let dy = Matrix::new(grad_y.memory()?, dtype, tokens, hidden);
        let kernel_error = TensorError::kernel(OP);
        if sink.needs(2) {
            let a = activated(activation, &z)?;
            let a = Matrix::new(a.memory()?, dtype, tokens, inner);
            sink.accumulate_on(2, DType::F32, |grad, add| {
                let grad = MatrixMut::new(grad, DType::F32, hidden, inner);
                gemm(scaling, dy.transposed(), a, update_of(add), grad).map_err(&kernel_error)
            })?;
        }
        sink.accumulate_on(4, DType::F32, |grad, add| {
            column_sums(scaling, dy, update_of(add), grad).map_err(&kernel_error)
        })?;
        let mut dz = Buffer::scratch(device, dtype, tokens * inner)?;
        let da = MatrixMut::new(dz.memory_mut()?, dtype, tokens, inner);
        gemm(scaling, dy, Matrix::new(&up, dtype, hidden, inner), update_of(false), da).map_err(&kernel_error)?;
        kernel::backward(dtype, activation, z.len(), z.memory()?, dz.memory_mut()?).map_err(TensorError::kernel(OP))?;
        let dz = Matrix::new(dz.memory()?, dtype, tokens, inner);
        sink.accumulate_on(0, dtype, |grad, add| {
            let grad = MatrixMut::new(grad, dtype, tokens, hidden);
            gemm(1.0, dz, Matrix::new(&down, dtype, inner, hidden), update_of(add), grad).map_err(&kernel_error)
        })?;
        sink.accumulate_on(1, DType::F32, |grad, add| {
            let grad = MatrixMut::new(grad, DType::F32, inner, hidden);
            gemm(1.0, dz.transposed(), x, update_of(add), grad).map_err(&kernel_error)
        })?;
        sink.accumulate_on(3, DType::F32, |grad, add| {
            column_sums(1.0, dz, update_of(add), grad).map_err(&kernel_error)
        })?;
        sink.give(5, grad_y)
    })
}

/// `act(z)`.
fn activated(activation: Activation, z: &Buffer) -> Result<Buffer> {
    let mut a = Buffer::scratch(z.device(), z.dtype(), z.len())?;
    kernel::forward(z.dtype(), activation, z.len(), z.memory()?, a.memory_mut()?).map_err(TensorError::kernel(OP))?;
    Ok(a)
}

/// `y = addend + scaling bias`, what the product is then added to. Without either there is nothing: `false`.
fn start(
    shape: Shape,
    dtype: DType,
    addend: Option<&DeviceBuffer>,
    bias: Option<&DeviceBuffer>,
    scaling: f32,
    y: &mut DeviceBuffer,
) -> Result<bool> {
    match (addend, bias) {
        (addend, Some(bias)) => {
            broadcast::broadcast(shape, dtype, addend, scaling, bias, y).map_err(TensorError::kernel(OP))?;
        }
        (Some(addend), None) => y.copy_from(addend)?,
        (None, None) => return Ok(false),
    }
    Ok(true)
}
