//! `y = factor * x`.
//!
//! dx = factor * dy

use device::{Buffer, DType};
use transformer::{Gradient, elementwise};

use crate::{Result, Tensor, TensorError};

/// Multiplies every element by `factor`.
///
/// # Errors
/// [`crate::TensorError::DType`] unless `x` is f32.
pub fn scale(x: &Tensor, factor: f32) -> Result<Tensor> {
    const OP: &str = "scale";
    let mut y = Buffer::scratch(x.device(), DType::F32, x.count())?;
    elementwise::scale(factor, x.read().f32(OP, "x")?.into(), Gradient::overwrite(y.f32_mut()?))
        .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        elementwise::scale_in_place(factor, grad_y.f32_mut()?);
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
