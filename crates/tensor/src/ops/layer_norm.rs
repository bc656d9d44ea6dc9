//! `y = n w + b`, where `n = (x - mean(x)) * rsqrt(var(x) + eps)`.
//!
//! dx = rstd (dy w - mean(dy w) - n mean(dy w n))      dw = sum over rows of dy n      db = sum over rows of dy
//!
//! x and the rows' statistics are saved; y is computed again from x for those that need it.

use device::{Buffer, DType, Device};
use transformer::Gradient;
use transformer::launch::{self, layer_norm as kernel};
use transformer::layer_norm::{Backward, Forward, Shape, backward, forward};

use super::norm;
use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "layer_norm";

/// Normalises each row of `x`, `[num_tokens, hidden]`; `weight` and `bias` are `[hidden]`.
///
/// # Errors
/// [`TensorError::Shape`] if the last size of `x` is not a multiple of the weight's; [`TensorError::Kernel`] if the bias
/// is of another size; [`TensorError::DType`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    let hidden = norm::width(OP, x, weight)?;
    let shape = Shape { rows: x.count() / hidden, hidden, eps };
    let dtype = x.compute_dtype();
    let (y, statistics) = normalised(shape, x, weight, bias)?;
    let saved = (Saved::new(x)?, weight.detach());
    let again = (saved.clone(), bias.map(Tensor::detach));
    // Without a bias its place is taken by a constant, which needs no gradient.
    let constant = x.detach();
    let y = Tensor::record(OP, x.shape(), y, &[x, weight, bias.unwrap_or(&constant)], move |grad_y, sink| {
        let saved = (saved.0.stored()?, saved.1);
        if grad_y.device() != Device::Cpu {
            let (x, weight) = (saved.0.on_device(OP, "x", dtype)?, saved.1.on_device(OP, "weight", dtype)?);
            let (x, weight, statistics, dy) = (&x, &weight, statistics.memory()?, grad_y.memory()?);
            let nothing =
                || kernel::Backward { dtype, x, weight, statistics, dy, dx: None, dweight: None, dbias: None };
            let run = |args: kernel::Backward<'_>| kernel::backward(shape, args).map_err(TensorError::kernel(OP));
            sink.accumulate_on(0, dtype, |values, add| {
                run(kernel::Backward { dx: Some(launch::Gradient { values, add }), ..nothing() })
            })?;
            sink.accumulate_on(1, DType::F32, |values, add| {
                run(kernel::Backward { dweight: Some(launch::Gradient { values, add }), ..nothing() })
            })?;
            return sink.accumulate_on(2, DType::F32, |values, add| {
                run(kernel::Backward { dbias: Some(launch::Gradient { values, add }), ..nothing() })
            });
        }
        let (x, weight) = (saved.0.read(), saved.1.read());
        let (x, weight, statistics, dy) = (x.on_cpu(OP)?, weight.elements(), statistics.f32()?, grad_y.f32()?);
        let nothing = || Backward { x, weight, statistics, dy, dx: None, dweight: None, dbias: None };
        let run = |args: Backward<'_>| backward(shape, args).map_err(TensorError::kernel(OP));
        sink.accumulate(0, |values, add| run(Backward { dx: Some(Gradient { values, add }), ..nothing() }))?;
        sink.accumulate(1, |values, add| run(Backward { dweight: Some(Gradient { values, add }), ..nothing() }))?;
        sink.accumulate(2, |values, add| run(Backward { dbias: Some(Gradient { values, add }), ..nothing() }))
    })?;
    Ok(y.with_recipe(move || {
        let ((x, weight), bias) = &again;
        let x = x.stored()?;
        Tensor::new(x.shape(), normalised(shape, &x, weight, bias.as_ref())?.0)
    }))
}

/// `y`, and the statistics of each row.
fn normalised(shape: Shape, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<(Buffer, Buffer)> {
    let dtype = x.compute_dtype();
    let mut y = Buffer::scratch(x.device(), dtype, x.count())?;
    let mut statistics = Buffer::scratch(x.device(), DType::F32, 2 * shape.rows)?;
    match x.device() {
        Device::Cpu => {
            let (x, weight, bias) = (x.read(), weight.read(), bias.map(Tensor::read));
            let (y, statistics) = (y.f32_mut()?, statistics.f32_mut()?);
            let bias = bias.as_ref().map(|bias| bias.elements());
            let args = Forward { x: x.on_cpu(OP)?, weight: weight.elements(), bias, y, statistics };
            forward(shape, args).map_err(TensorError::kernel(OP))?;
        }
        _ => {
            let (x, weight) = (x.on_device(OP, "x", dtype)?, weight.on_device(OP, "weight", dtype)?);
            let bias = bias.map(|bias| bias.on_device(OP, "bias", dtype)).transpose()?;
            let (y, statistics) = (y.memory_mut()?, statistics.memory_mut()?);
            let args = kernel::Forward { dtype, x: &x, weight: &weight, bias: bias.as_ref(), y, statistics };
            kernel::forward(shape, args).map_err(TensorError::kernel(OP))?;
        }
    }
    Ok((y, statistics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let inputs = [values([3, 6], 1), values([6], 2), values([6], 3)];
        let worst = gradcheck(&inputs, |x| layer_norm(&x[0], &x[1], Some(&x[2]), 1e-5)).unwrap();
        // The difference quotient's own error.
        assert!(worst <= 1e-3, "{worst}");
        let worst = gradcheck(&inputs[..2], |x| layer_norm(&x[0], &x[1], None, 1e-5)).unwrap();
        assert!(worst <= 1e-3, "{worst}");
    }

    #[test]
    fn literal() {
        let x = Tensor::from_f32([1, 2], &[1.0, 3.0]).unwrap();
        let [weight, bias] = [[2.0, 3.0], [0.5, -1.0]].map(|v| Tensor::from_f32([2], &v).unwrap());
        assert_eq!(layer_norm(&x, &weight, Some(&bias), 0.0).unwrap().to_vec(), [-1.5, 2.0]);
    }
}
