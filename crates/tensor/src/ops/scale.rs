//! `y = factor * x`.
//!
//! dx = factor * dy

use device::{Buffer, Device};
use transformer::launch::elementwise::{self as kernel, Factor};
use transformer::{Gradient, elementwise, launch};

use crate::{Result, Tensor, TensorError};

/// Multiplies every element by `factor`.
///
/// # Errors
/// [`crate::TensorError::DType`] unless `x` is f32.
pub fn scale(x: &Tensor, factor: f32) -> Result<Tensor> {
    const OP: &str = "scale";
    let (dtype, count) = (x.compute_dtype(), x.count());
    let mut y = Buffer::scratch(x.device(), dtype, count)?;
    match x.device() {
        Device::Cpu => elementwise::scale(factor, x.read().f32(OP, "x")?.into(), Gradient::overwrite(y.f32_mut()?)),
        _ => {
            let (x, y) = (x.on_device(OP, "x", dtype)?, launch::Gradient::overwrite(y.memory_mut()?));
            kernel::scale(count, Factor::Constant(factor), (dtype, &x), (dtype, y))
        }
    }
    .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        match grad_y.device() {
            Device::Cpu => elementwise::scale_in_place(factor, grad_y.f32_mut()?),
            _ => kernel::scale_in_place(count, Factor::Constant(factor), (dtype, grad_y.memory_mut()?))
                .map_err(TensorError::kernel(OP))?,
        }
        sink.give(0, grad_y)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([5], 1)], |x| scale(&x[0], -1.75)).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
    }
}
