//! `y[t, c] = x[t, c] * l[c]`: a learned factor for each channel.
//!
//! `dx[t, c] = dy[t, c] l[c]`, `dl[c] = sum over t of dy[t, c] x[t, c]`

use device::{Buffer, DType, Device};
use ia3::{Backward, Forward, Ia3Shape, backward, forward, launch as kernel};

use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "ia3_scale";

/// Scales the channels of `x`, `[num_tokens, features]`, by `ia3_l`, `features` elements in any shape.
///
/// `x` is saved for the gradient of `ia3_l` alone: frozen factors keep no activation.
///
/// # Errors
/// [`TensorError::Shape`] if there are not as many factors as channels; [`TensorError::DType`] unless both are f32.
pub fn ia3_scale(x: &Tensor, ia3_l: &Tensor) -> Result<Tensor> {
    let (num_tokens, features) = x.matrix_shape(OP, "x")?;
    if ia3_l.count() != features {
        return Err(ia3_l.unexpected(OP, "ia3_l", format!("{features} elements")));
    }
    let shape = Ia3Shape { num_tokens, features };
    let dtype = x.compute_dtype();
    let mut y = Buffer::scratch(x.device(), dtype, x.count())?;
    match x.device() {
        Device::Cpu => {
            let (x, ia3_l) = (x.read(), ia3_l.read());
            forward(shape, Forward { x: x.f32(OP, "x")?, ia3_l: ia3_l.f32(OP, "ia3_l")?, y: y.f32_mut()? })
        }
        _ => {
            let (x, ia3_l) = (x.on_device(OP, "x", dtype)?, ia3_l.on_device(OP, "ia3_l", DType::F32)?);
            kernel::forward(shape, kernel::Forward { dtype, x: &x, ia3_l: &ia3_l, y: y.memory_mut()? })
        }
    }
    .map_err(TensorError::kernel(OP))?;
    let saved_x = ia3_l.requires_grad().then(|| Saved::new(x)).transpose()?;
    let saved_l = ia3_l.detach();
    Tensor::record(OP, x.shape(), y, &[x, ia3_l], move |grad_y, sink| {
        let saved_x = saved_x.map(|x| x.get()).transpose()?;
        let (grad_x, grad_l) = gradients(OP, shape, saved_x.as_ref(), &saved_l, &grad_y, sink.needs(0))?;
        grad_x.map_or(Ok(()), |grad_x| sink.give(0, grad_x))?;
        grad_l.map_or(Ok(()), |grad_l| sink.give(1, grad_l))
    })
}

/// The gradient of what was scaled, if it is wanted, and that of the factors, if `x` was saved for it.
pub(super) fn gradients(
    op: &'static str,
    shape: Ia3Shape,
    x: Option<&Tensor>,
    ia3_l: &Tensor,
    grad_y: &Buffer,
    wants_x: bool,
) -> Result<(Option<Buffer>, Option<Buffer>)> {
    let (dtype, device) = (grad_y.dtype(), grad_y.device());
    let mut grad_x = if wants_x { Some(Buffer::scratch(device, dtype, grad_y.len())?) } else { None };
    let mut grad_l = if x.is_some() { Some(Buffer::scratch(device, DType::F32, shape.features)?) } else { None };
    match device {
        Device::Cpu => {
            let (x, ia3_l) = (x.map(Tensor::read), ia3_l.read());
            backward(
                shape,
                Backward {
                    // Read for the gradient of the factors alone.
                    x: match &x {
                        Some(x) => x.f32(op, "x")?,
                        None => grad_y.f32()?,
                    },
                    ia3_l: ia3_l.f32(op, "ia3_l")?,
                    grad_y: grad_y.f32()?,
                    grad_x: grad_x.as_mut().map(Buffer::f32_mut).transpose()?,
                    grad_ia3_l: grad_l.as_mut().map(Buffer::f32_mut).transpose()?,
                },
            )
        }
        _ => {
            let x = x.map(|x| x.on_device(op, "x", dtype)).transpose()?;
            kernel::backward(
                shape,
                kernel::Backward {
                    dtype,
                    x: x.as_ref().unwrap_or(grad_y.memory()?),
                    ia3_l: &ia3_l.on_device(op, "ia3_l", DType::F32)?,
                    grad_y: grad_y.memory()?,
                    grad_x: grad_x.as_mut().map(Buffer::memory_mut).transpose()?,
                    grad_ia3_l: grad_l.as_mut().map(Buffer::memory_mut).transpose()?,
                },
            )
        }
    }
    .map_err(TensorError::kernel(op))?;
    Ok((grad_x, grad_l))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, ops};

    #[test]
    fn gradients() {
        for factors in [&[4][..], &[4, 1], &[1, 4]] {
            let worst = gradcheck(&[values([5, 4], 1), values(factors, 2)], |x| ia3_scale(&x[0], &x[1])).unwrap();
            // Bilinear: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
            assert!(worst <= 1e-4, "{worst}");
        }
        let frozen = Tensor::from_f32([3], &[2.0, -1.0, 0.5]).unwrap();
        let worst = gradcheck(&[values([2, 3], 3)], |x| ia3_scale(&x[0], &frozen)).unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn a_factor_of_a_frozen_input_gets_its_gradient() {
        let x = Tensor::from_f32([2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let l = Tensor::leaf([2], &[1.0, 10.0]).unwrap();
        let y = ia3_scale(&x, &l).unwrap();
        assert_eq!(y.to_vec(), [1.0, 20.0, 3.0, 40.0]);
        let mut gradients = Gradients::new([&l]).unwrap();
        crate::backward(&ops::weighted_sum(&y, &[1.0, 1.0, 2.0, -1.0]).unwrap(), 1.0, &mut gradients).unwrap();
        assert_eq!(gradients.of(&l).unwrap(), [7.0, -2.0]);
    }

    #[test]
    fn shapes_are_checked() {
        let x = Tensor::from_f32([2, 2], &[0.0; 4]).unwrap();
        let message = ia3_scale(&x, &Tensor::from_f32([3], &[1.0; 3]).unwrap()).unwrap_err().to_string();
        assert_eq!(message, "ia3_scale: `ia3_l` has shape [3], expected 2 elements");
    }
}
