//! The same elements in another type, rounded to nearest.
//!
//! dx = dy in the type of x

use device::{Buffer, DType, Device};

use crate::convert::convert_memory;
use crate::{Result, Tensor};

/// `x` in `dtype`. On the CPU, where all that is computed is f32, `x` itself.
///
/// # Errors
/// [`crate::TensorError::Kernel`] for a dtype that no kernel computes in; [`crate::TensorError::Device`] without memory.
pub fn convert(x: &Tensor, dtype: DType) -> Result<Tensor> {
    const OP: &str = "convert";
    if x.device() == Device::Cpu || x.dtype() == dtype {
        return Ok(x.clone());
    }
    let mut y = Buffer::scratch(x.device(), dtype, x.count())?;
    let memory = x.on_device(OP, "x", x.dtype())?;
    convert_memory(x.count(), (x.dtype(), &memory), (dtype, y.memory_mut()?), false)?;
    Tensor::record(OP, x.shape(), y, &[x], |grad_y, sink| sink.give(0, grad_y))
}
