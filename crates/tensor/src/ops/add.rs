//! `y = a + b`, same shapes: the residual connection.
//!
//! da = dy, db = dy

use device::{Buffer, Device};
use transformer::{elementwise, launch};

use crate::{Result, Tensor, TensorError};

/// Adds two tensors of the same shape. On a device the sum has the type of `a`.
///
/// # Errors
/// [`crate::TensorError::Shape`] if the shapes differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "add";
    if a.shape() != b.shape() {
        return Err(b.unexpected(OP, "b", format!("{:?}", a.shape())));
    }
    let (dtype, count) = (a.compute_dtype(), a.count());
    let mut y = Buffer::scratch(a.device(), dtype, count)?;
    match a.device() {
        Device::Cpu => elementwise::add(a.read().f32(OP, "a")?, b.read().f32(OP, "b")?, y.f32_mut()?),
        _ => {
            let (a, b) = (a.on_device(OP, "a", dtype)?, b.on_device(OP, "b", dtype)?);
            launch::elementwise::add(dtype, count, &a, &b, y.memory_mut()?)
        }
    }
    .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, a.shape(), y, &[a, b], |grad_y, sink| {
        if sink.needs(0) && sink.needs(1) {
            sink.give_copy(0, &grad_y)?;
            return sink.give(1, grad_y);
        }
        sink.give(if sink.needs(0) { 0 } else { 1 }, grad_y)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, backward, ops};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([3, 2], 1), values([3, 2], 2)], |x| add(&x[0], &x[1])).unwrap();
        // Linear: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn the_same_input_twice_gets_both_gradients() {
        let x = Tensor::leaf([2], &[1.0, 2.0]).unwrap();
        let mut gradients = Gradients::new([&x]).unwrap();
        let y = ops::weighted_sum(&add(&x, &x).unwrap(), &[1.0, 10.0]).unwrap();
        backward(&y, 0.5, &mut gradients).unwrap();
        assert_eq!(gradients.of(&x).unwrap(), [1.0, 10.0]);
    }

    #[test]
    fn shapes_must_agree() {
        let (a, b) = (Tensor::from_f32([2], &[0.0; 2]).unwrap(), Tensor::from_f32([1, 2], &[0.0; 2]).unwrap());
        assert!(add(&a, &b).is_err());
    }
}
