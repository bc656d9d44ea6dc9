//! Sum of `logsumexp(l) - l[label]` over the rows whose label is not -100; `l` is the logits, soft-capped if asked.
//!
//! dlogits = dy (softmax(l) - onehot(label)) dl/dlogits

use device::{Buffer, DType, Device};
use transformer::cross_entropy::{LossSum, Shape, forward, forward_backward};
use transformer::launch::cross_entropy::{self as kernel, Labels, Sums};
use transformer::launch::elementwise::{Factor, scale_in_place};

use crate::{Result, Tensor, TensorError};

const OP: &str = "cross_entropy";

/// The loss sum of `logits`, `[num_tokens, vocab_size]`, as a scalar. `labels[i]` is what row `i` should predict.
///
/// # Errors
/// [`TensorError::Kernel`] for a label outside the vocabulary or not one for each row; [`TensorError::DType`].
pub fn cross_entropy(logits: &Tensor, labels: &[i64], softcap: Option<f32>) -> Result<Tensor> {
    let shape = shape(logits, softcap)?;
    if logits.device() != Device::Cpu {
        return on_device(shape, logits, labels);
    }
    let sum = cross_entropy_statistics(logits, labels, softcap)?;
    let (saved, labels) = (logits.detach(), labels.to_vec());
    Tensor::record(OP, [1], Buffer::from_f32(logits.device(), &[sum.loss as f32])?, &[logits], move |grad_y, sink| {
        let mut gradient = Buffer::scratch(saved.device(), DType::F32, saved.count())?;
        let values = gradient.f32_mut()?;
        values.copy_from_slice(saved.read().f32(OP, "logits")?);
        forward_backward(shape, values, &labels, grad_y.f32()?[0]).map_err(TensorError::kernel(OP))?;
        sink.give(0, gradient)
    })
}

/// The loss sum with the number of supervised and of correctly predicted tokens, for evaluation: nothing is recorded.
///
/// # Errors
/// As [`cross_entropy`].
pub fn cross_entropy_statistics(logits: &Tensor, labels: &[i64], softcap: Option<f32>) -> Result<LossSum> {
    let shape = shape(logits, softcap)?;
    if logits.device() != Device::Cpu {
        return sums(shape, logits, labels)?.0.read().map_err(TensorError::kernel(OP));
    }
    forward(shape, logits.read().f32(OP, "logits")?, labels).map_err(TensorError::kernel(OP))
}

/// The loss as kernels: in f32, without waiting for it.
fn on_device(shape: Shape, logits: &Tensor, labels: &[i64]) -> Result<Tensor> {
    let (sums, labels) = sums(shape, logits, labels)?;
    let y = Buffer::on_device(sums.loss().map_err(TensorError::kernel(OP))?, DType::F32)?;
    let (saved, dtype) = (logits.detach(), logits.dtype());
    Tensor::record(OP, [1], y, &[logits], move |grad_y, sink| {
        let mut gradient = Buffer::scratch(saved.device(), dtype, saved.count())?;
        let values = gradient.memory_mut()?;
        values.copy_from(&saved.on_device(OP, "logits", dtype)?)?;
        let mut again = Sums::new(values.executor()).map_err(TensorError::kernel(OP))?;
        let dy = Factor::Times(1.0, grad_y.memory()?);
        kernel::forward_backward(shape, dtype, values, &labels, 1.0, &mut again)
            .and_then(|()| scale_in_place(saved.count(), dy, (dtype, values)))
            .map_err(TensorError::kernel(OP))?;
        sink.give(0, gradient)
    })
}

/// The sums of the losses, and the labels beside the logits.
fn sums(shape: Shape, logits: &Tensor, labels: &[i64]) -> Result<(Sums, Labels)> {
    let dtype = logits.dtype();
    let logits = logits.on_device(OP, "logits", dtype)?;
    let labels = Labels::new(logits.executor(), labels, shape.vocab_size).map_err(TensorError::kernel(OP))?;
    let mut sums = Sums::new(logits.executor()).map_err(TensorError::kernel(OP))?;
    kernel::forward(shape, dtype, &logits, &labels, &mut sums).map_err(TensorError::kernel(OP))?;
    Ok((sums, labels))
}

fn shape(logits: &Tensor, softcap: Option<f32>) -> Result<Shape> {
    let (rows, vocab_size) = logits.matrix_shape(OP, "logits")?;
    Ok(Shape { rows, vocab_size, softcap })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        for softcap in [None, Some(2.0)] {
            let worst = gradcheck(&[values([4, 5], 1)], |x| cross_entropy(&x[0], &[4, -100, 0, 2], softcap)).unwrap();
            // The difference quotient's own error.
            assert!(worst <= 1e-3, "{worst}");
        }
    }

    #[test]
    fn equal_logits_lose_the_logarithm_of_their_number() {
        let logits = Tensor::from_f32([2, 4], &[1.0; 8]).unwrap();
        let loss = cross_entropy(&logits, &[3, -100], None).unwrap().item().unwrap();
        assert!((loss - 4f32.ln()).abs() <= 1e-6, "{loss}");
        assert!(matches!(cross_entropy(&logits, &[4, 0], None), Err(TensorError::Kernel { .. })));
    }
}
