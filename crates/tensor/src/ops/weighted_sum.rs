//! `y = sum_i weights_i x_i`: a scalar to start a backward from.
//!
//! dx_i = weights_i dy

use device::Buffer;
use transformer::{Gradient, elementwise, sums};

use crate::{Result, Tensor, TensorError};

/// The inner product with constant `weights`, accumulated in f64.
///
/// # Errors
/// [`crate::TensorError::Shape`] if there are not as many weights as elements.
pub fn weighted_sum(x: &Tensor, weights: &[f32]) -> Result<Tensor> {
    const OP: &str = "weighted_sum";
    if x.count() != weights.len() {
        return Err(x.unexpected(OP, "x", format!("{} elements", weights.len())));
    }
    let sum = sums::inner_product(x.read().f32(OP, "x")?, weights).map_err(TensorError::kernel(OP))?;
    let weights = weights.to_vec();
    Tensor::record(OP, [1], Buffer::from_f32(x.device(), &[sum as f32])?, &[x], move |grad_y, sink| {
        let dy = grad_y.f32()?[0];
        sink.accumulate(0, |values, add| {
            elementwise::scale(dy, weights[..].into(), Gradient { values, add }).map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gradients, backward};

    #[test]
    fn its_gradient_is_the_weights() {
        let x = Tensor::leaf([3], &[1.0, 2.0, 3.0]).unwrap();
        let y = weighted_sum(&x, &[0.5, -1.0, 2.0]).unwrap();
        assert_eq!(y.item().unwrap(), 4.5);
        let mut gradients = Gradients::new([&x]).unwrap();
        backward(&y, 2.0, &mut gradients).unwrap();
        assert_eq!(gradients.of(&x).unwrap(), [1.0, -2.0, 4.0]);
    }
}
