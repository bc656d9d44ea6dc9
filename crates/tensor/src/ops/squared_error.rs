//! `y = sum_i (x_i - target_i)^2`: the loss of a regression.
//!
//! dx_i = 2 (x_i - target_i) dy

use device::{Buffer, DType};
use transformer::{Gradient, elementwise, sums};

use crate::{Result, Tensor, TensorError};

/// The sum of the squared differences between `x` and `targets`, as a scalar, accumulated in f64.
///
/// # Errors
/// [`crate::TensorError::Shape`] if there is not one target for each element; [`crate::TensorError::DType`] unless `x` is
/// f32.
pub fn squared_error(x: &Tensor, targets: &[f32]) -> Result<Tensor> {
    const OP: &str = "squared_error";
    if x.count() != targets.len() {
        return Err(x.unexpected(OP, "x", format!("{} elements", targets.len())));
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
