//! `y = cap * tanh(x / cap)` (Gemma 2).
//!
//! dx = dy (1 - tanh(x / cap)^2)

use device::{Buffer, DType};
use transformer::softcap as kernel;

use crate::{Result, Tensor, TensorError};

/// Bends every element into `(-cap, cap)`.
///
/// # Errors
/// [`TensorError::Kernel`] unless `cap` is positive and finite; [`TensorError::DType`] unless `x` is f32.
pub fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    const OP: &str = "softcap";
    let mut y = Buffer::scratch(x.device(), DType::F32, x.count())?;
    kernel::forward(cap, x.read().f32(OP, "x")?, y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    let saved = x.detach();
    Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        let x = saved.read();
        kernel::backward(cap, x.f32(OP, "x")?, grad_y.f32_mut()?).map_err(TensorError::kernel(OP))?;
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
