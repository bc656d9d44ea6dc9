//! The scaling as kernels.

use device::{Buffer, DType};
use gemm::launch::Matrix;
use ia3::Ia3Shape;
use ia3::launch::{Backward, Forward, backward, forward};
use transformer::broadcast::Shape;
use transformer::launch::{broadcast, elementwise};

use super::OP;
use crate::ops::linear::{add_parent, on_device::give_bias_gradient};
use crate::{Result, Tensor, TensorError};

/// As [`super::dora_scale`]. What is stored has the type of `z`; factors and the gradient of the magnitude are f32.
pub(super) fn dora_scale(
    shape: Ia3Shape,
    z: &Tensor,
    magnitude: &Tensor,
    norm: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let Ia3Shape { num_tokens, features } = shape;
    let (device, dtype) = (z.device(), z.dtype());
    let norm = norm.on_device(OP, "norm", DType::F32)?;
    let mut factors = Buffer::scratch(device, DType::F32, features)?;
    let m = magnitude.on_device(OP, "magnitude", DType::F32)?;
    elementwise::divide(features, &m, &norm, factors.memory_mut()?).map_err(TensorError::kernel(OP))?;
    let memory = z.on_device(OP, "z", dtype)?;
    let mut y = Buffer::scratch(device, dtype, z.count())?;
    let args = Forward { dtype, x: &memory, ia3_l: factors.memory()?, y: y.memory_mut()? };
    forward(shape, args).map_err(TensorError::kernel(OP))?;
    if let Some(bias) = bias {
        let (shape, bias) = (Shape { rows: num_tokens, columns: features }, bias.on_device(OP, "bias", dtype)?);
        broadcast::in_place(shape, dtype, 1.0, &bias, y.memory_mut()?).map_err(TensorError::kernel(OP))?;
    }

    let mut parents = vec![z, magnitude];
    let bias_index = add_parent(&mut parents, bias);
    let trained = magnitude.requires_grad();
    Tensor::record(OP, z.shape(), y, &parents, move |grad_y, sink| {
        let mut grad_z = Buffer::scratch(device, dtype, grad_y.len())?;
        let mut sums = if trained { Some(Buffer::scratch(device, DType::F32, features)?) } else { None };
        let args = Backward {
            dtype,
            x: &memory,
            ia3_l: factors.memory()?,
            grad_y: grad_y.memory()?,
            grad_x: Some(grad_z.memory_mut()?),
            grad_ia3_l: sums.as_mut().map(Buffer::memory_mut).transpose()?,
        };
        backward(shape, args).map_err(TensorError::kernel(OP))?;
        if let Some(mut sums) = sums {
            elementwise::divide_in_place(features, &norm, sums.memory_mut()?).map_err(TensorError::kernel(OP))?;
            sink.give(1, sums)?;
        }
        if let Some(index) = bias_index {
            give_bias_gradient(OP, sink, index, Matrix::new(grad_y.memory()?, dtype, num_tokens, features))?;
        }
        sink.give(0, grad_z)
    })
}
