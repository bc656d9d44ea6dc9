//! `y = sum_i weights_i x_i`: a scalar to start a backward from.
//!
//! dx_i = weights_i dy

use device::{Buffer, DType, Device};
use transformer::launch::elementwise::{Factor, scale};
use transformer::{Gradient, elementwise, launch, sums};

use crate::{Result, Tensor, TensorError};

const OP: &str = "weighted_sum";

/// The inner product with constant `weights`, accumulated in f64.
///
/// # Errors
/// [`crate::TensorError::Shape`] if there are not as many weights as elements.
pub fn weighted_sum(x: &Tensor, weights: &[f32]) -> Result<Tensor> {
    if x.count() != weights.len() {
        return Err(x.unexpected(OP, "x", format!("{} elements", weights.len())));
    }
    if x.device() != Device::Cpu {
        return on_device(x, weights);
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

fn on_device(x: &Tensor, weights: &[f32]) -> Result<Tensor> {
    let (dtype, count) = (x.dtype(), x.count());
    let weights = Buffer::from_f32(x.device(), weights)?;
    let mut sum = Buffer::scratch(x.device(), DType::F32, 1)?;
    let memory = x.on_device(OP, "x", dtype)?;
    launch::sums::inner_product(dtype, count, &memory, weights.memory()?, sum.memory_mut()?)
        .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [1], sum, &[x], move |grad_y, sink| {
        let dy = Factor::Times(1.0, grad_y.memory()?);
        sink.accumulate_on(0, dtype, |values, add| {
            let gradient = (dtype, launch::Gradient { values, add });
            scale(count, dy, (DType::F32, weights.memory()?), gradient).map_err(TensorError::kernel(OP))
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
