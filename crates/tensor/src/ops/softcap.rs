//! `y = cap * tanh(x / cap)` (Gemma 2).
//!
//! dx = dy (1 - tanh(x / cap)^2)

use device::{Buffer, Device};
use transformer::{launch, softcap as kernel};

use crate::{Result, Tensor, TensorError};

/// Bends every element into `(-cap, cap)`.
///
/// # Errors
/// [`TensorError::Kernel`] unless `cap` is positive and finite; [`TensorError::DType`] unless `x` is f32.
pub fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    const OP: &str = "softcap";
    let (dtype, count) = (x.compute_dtype(), x.count());
    let mut y = Buffer::scratch(x.device(), dtype, count)?;
    match x.device() {
        Device::Cpu => kernel::forward(cap, x.read().f32(OP, "x")?, y.f32_mut()?),
        _ => launch::softcap::forward(dtype, cap, count, &x.on_device(OP, "x", dtype)?, y.memory_mut()?),
    }
    .map_err(TensorError::kernel(OP))?;
    let saved = x.detach();
    Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        match grad_y.device() {
            Device::Cpu => kernel::backward(cap, saved.read().f32(OP, "x")?, grad_y.f32_mut()?),
            _ => {
                let x = saved.on_device(OP, "x", dtype)?;
                launch::softcap::backward(dtype, cap, count, &x, grad_y.memory_mut()?)
            }
        }
        .map_err(TensorError::kernel(OP))?;
        sink.give(0, grad_y)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([4, 5], 1)], |x| softcap(&x[0], 0.75)).unwrap();
        // The difference quotient's own error.
        assert!(worst <= 1e-3, "{worst}");
        assert!(softcap(&Tensor::from_f32([1], &[1.0]).unwrap(), 0.0).is_err());
    }
}
