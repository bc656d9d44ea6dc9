//! `y = sum_i (x_i - target_i)^2`: the loss of a regression.
//!
//! dx_i = 2 (x_i - target_i) dy

use device::{Buffer, DType, Device};
use transformer::launch::elementwise::{Factor, scale};
use transformer::{Gradient, elementwise, launch, sums};

use crate::{Result, Tensor, TensorError};

const OP: &str = "squared_error";

/// The sum of the squared differences between `x` and `targets`, as a scalar, accumulated in f64.
///
/// # Errors
/// [`crate::TensorError::Shape`] if there is not one target for each element; [`crate::TensorError::DType`] unless `x` is
/// f32.
pub fn squared_error(x: &Tensor, targets: &[f32]) -> Result<Tensor> {
    if x.count() != targets.len() {
        return Err(x.unexpected(OP, "x", format!("{} elements", targets.len())));
    }
    if x.device() != Device::Cpu {
        return on_device(x, targets);
    }
    let mut differences = Buffer::scratch(x.device(), DType::F32, x.count())?;
    let sum = sums::squared_error(x.read().f32(OP, "x")?, targets, differences.f32_mut()?)
        .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [1], Buffer::from_f32(x.device(), &[sum as f32])?, &[x], move |grad_y, sink| {
        let factor = 2.0 * grad_y.f32()?[0];
        sink.accumulate(0, |values, add| {
            elementwise::scale(factor, differences.f32()?.into(), Gradient { values, add })
                .map_err(TensorError::kernel(OP))
        })
    })
}

/// The same as kernels: the sum in f32, without waiting for it.
fn on_device(x: &Tensor, targets: &[f32]) -> Result<Tensor> {
    let (dtype, count) = (x.dtype(), x.count());
    let targets = Buffer::from_f32(x.device(), targets)?;
    let mut differences = Buffer::scratch(x.device(), DType::F32, count)?;
    let mut sum = Buffer::scratch(x.device(), DType::F32, 1)?;
    let (memory, written) = (x.on_device(OP, "x", dtype)?, differences.memory_mut()?);
    launch::sums::squared_error(dtype, count, &memory, targets.memory()?, written, sum.memory_mut()?)
        .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [1], sum, &[x], move |grad_y, sink| {
        let factor = Factor::Times(2.0, grad_y.memory()?);
        sink.accumulate_on(0, dtype, |values, add| {
            let gradient = (dtype, launch::Gradient { values, add });
            scale(count, factor, (DType::F32, differences.memory()?), gradient).map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn literal() {
        let x = Tensor::from_f32([2, 1], &[1.0, -2.0]).unwrap();
        assert_eq!(squared_error(&x, &[3.0, -1.5]).unwrap().item().unwrap(), 4.25);
        assert!(squared_error(&x, &[3.0]).is_err());
    }

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([4], 1)], |x| squared_error(&x[0], &[0.5, -1.0, 2.0, 0.0])).unwrap();
        // The difference quotient's own error.
        assert!(worst <= 1e-3, "{worst}");
    }
}
