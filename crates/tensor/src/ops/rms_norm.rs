//! `y = x * rsqrt(mean(x^2) + eps) * w`, where w is the weight, plus 1 with `unit_offset` (Gemma).
//!
//! dx = rstd (dy w) - x rstd^3 mean(dy w x)      dw = sum over rows of dy x rstd
//!
//! x and the rows' rstd are saved; y is computed again from x for those that need it.

use device::{Buffer, DType, Device};
use transformer::Gradient;
use transformer::launch::{self, rms_norm as kernel};
use transformer::rms_norm::{Backward, Forward, Shape, backward, forward};

use super::norm;
use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "rms_norm";

/// Normalises `x`, `[num_tokens, hidden]`, by the root mean square of each row. With a weight of `[head_dim]`, a row of
/// `num_heads * head_dim` is normalised head by head.
///
/// # Errors
/// [`TensorError::Shape`] if the last size of `x` is not a multiple of the weight's; [`TensorError::DType`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32, unit_offset: bool) -> Result<Tensor> {
    let hidden = norm::width(OP, x, weight)?;
    let shape = Shape { rows: x.count() / hidden, hidden, eps, unit_offset };
    let dtype = x.compute_dtype();
    let (y, rstd) = normalised(shape, x, weight)?;
    let saved = (Saved::new(x)?, weight.detach());
    let again = saved.clone();
    let y = Tensor::record(OP, x.shape(), y, &[x, weight], move |grad_y, sink| {
        let saved = (saved.0.stored()?, saved.1);
        if grad_y.device() != Device::Cpu {
            let (x, weight) = (saved.0.on_device(OP, "x", dtype)?, saved.1.on_device(OP, "weight", dtype)?);
            let (x, weight, rstd, dy) = (&x, &weight, rstd.memory()?, grad_y.memory()?);
            let nothing = || kernel::Backward { dtype, x, weight, rstd, dy, dx: None, dweight: None };
            let run = |args: kernel::Backward<'_>| kernel::backward(shape, args).map_err(TensorError::kernel(OP));
            sink.accumulate_on(0, dtype, |values, add| {
                run(kernel::Backward { dx: Some(launch::Gradient { values, add }), ..nothing() })
            })?;
            return sink.accumulate_on(1, DType::F32, |values, add| {
                run(kernel::Backward { dweight: Some(launch::Gradient { values, add }), ..nothing() })
            });
        }
        let (x, weight) = (saved.0.read(), saved.1.read());
        let (x, weight, rstd, dy) = (x.on_cpu(OP)?, weight.elements(), rstd.f32()?, grad_y.f32()?);
        let nothing = || Backward { x, weight, rstd, dy, dx: None, dweight: None };
        let run = |args: Backward<'_>| backward(shape, args).map_err(TensorError::kernel(OP));
        sink.accumulate(0, |values, add| run(Backward { dx: Some(Gradient { values, add }), ..nothing() }))?;
        sink.accumulate(1, |values, add| run(Backward { dweight: Some(Gradient { values, add }), ..nothing() }))
    })?;
    Ok(y.with_recipe(move || {
        let x = again.0.stored()?;
        Tensor::new(x.shape(), normalised(shape, &x, &again.1)?.0)
    }))
}

/// `y`, and rstd of each row.
fn normalised(shape: Shape, x: &Tensor, weight: &Tensor) -> Result<(Buffer, Buffer)> {
    let dtype = x.compute_dtype();
    let mut y = Buffer::scratch(x.device(), dtype, x.count())?;
    let mut rstd = Buffer::scratch(x.device(), DType::F32, shape.rows)?;
    match x.device() {
        Device::Cpu => {
            let (x, weight) = (x.read(), weight.read());
            let (y, rstd) = (y.f32_mut()?, rstd.f32_mut()?);
            let args = Forward { x: x.on_cpu(OP)?, weight: weight.elements(), y, rstd };
            forward(shape, args).map_err(TensorError::kernel(OP))?;
        }
        _ => {
            let (x, weight) = (x.on_device(OP, "x", dtype)?, weight.on_device(OP, "weight", dtype)?);
            let (y, rstd) = (y.memory_mut()?, rstd.memory_mut()?);
            let args = kernel::Forward { dtype, x: &x, weight: &weight, y, rstd };
            kernel::forward(shape, args).map_err(TensorError::kernel(OP))?;
        }
    }
    Ok((y, rstd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        for unit_offset in [false, true] {
            let inputs = [values([3, 6], 1), values([6], 2)];
            let worst = gradcheck(&inputs, |x| rms_norm(&x[0], &x[1], 1e-5, unit_offset)).unwrap();
            // The difference quotient's own error.
            assert!(worst <= 1e-3, "{worst}");
        }
    }

    #[test]
    fn a_head_is_normalised_by_itself() {
        let x = Tensor::from_f32([1, 4], &[1.0, 1.0, 10.0, 10.0]).unwrap();
        let weight = Tensor::from_f32([2], &[1.0, 2.0]).unwrap();
        assert_eq!(rms_norm(&x, &weight, 0.0, false).unwrap().to_vec(), [1.0, 2.0, 1.0, 2.0]);
        let weight = Tensor::from_f32([3], &[1.0; 3]).unwrap();
        assert!(matches!(rms_norm(&x, &weight, 0.0, false), Err(TensorError::Shape { argument: "x", .. })));
    }

    #[test]
    fn a_frozen_norm_of_a_frozen_input_records_nothing() {
        let (x, weight) = (Tensor::from_f32([1, 2], &[1.0; 2]).unwrap(), Tensor::from_f32([2], &[1.0; 2]).unwrap());
        assert!(!rms_norm(&x, &weight, 1e-5, false).unwrap().requires_grad());
    }
}
