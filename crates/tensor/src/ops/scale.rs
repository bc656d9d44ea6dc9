//! `y = factor * x`.
//!
//! dx = factor * dy

use device::{Buffer, DType};

use crate::{Result, Tensor};

/// Multiplies every element by `factor`.
///
/// # Errors
/// [`crate::TensorError::DType`] unless `x` is f32.
pub fn scale(x: &Tensor, factor: f32) -> Result<Tensor> {
    const OP: &str = "scale";
    let mut y = Buffer::scratch(x.device(), DType::F32, x.count())?;
    multiply(y.f32_mut()?, x.read().f32(OP, "x")?, factor);
    Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        grad_y.f32_mut()?.iter_mut().for_each(|g| *g *= factor);
        sink.give(0, grad_y)
    })
}

fn multiply(y: &mut [f32], x: &[f32], factor: f32) {
    device::parallel::rows_mut(y, 1, 1 << 14, |start, y| {
        y.iter_mut().zip(&x[start..]).for_each(|(y, x)| *y = factor * x);
    });
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
