//! Cross-entropy of `logits = hidden W^T`, whose logits never exist all at once.
//!
//! dhidden = dy dlogits W      dW = dy dlogits^T hidden
//!
//! The gradients for dy = 1 are computed with the loss, chunk by chunk, and kept instead of the logits.

mod on_device;

use device::{Buffer, DType, Device};
use transformer::cross_entropy::LossSum;
use transformer::linear_cross_entropy::{Arguments, Shape, forward_backward};

use super::linear::add_parent;
use crate::{Layout, Result, Tensor, TensorError, Weight, tape};

/// The most rows whose logits the CPU computes at a time, given the size of the vocabulary and what products round to.
pub use transformer::linear_cross_entropy::most_rows as linear_cross_entropy_rows;

const OP: &str = "linear_cross_entropy";

/// The loss sum of `hidden`, `[num_tokens, hidden_size]`, as a scalar. `labels[i]` is what row `i` should predict; rows
/// whose label is -100 are never multiplied by the head. `softcap` is Gemma 2's `final_logit_softcapping`.
///
/// # Errors
/// [`TensorError::Kernel`] for a label outside the vocabulary or not one for each row; [`TensorError::Shape`] if the
/// sizes disagree or a trainable head is stored as `[hidden_size, vocab_size]`; [`TensorError::DType`].
pub fn linear_cross_entropy(hidden: &Tensor, head: &Weight, labels: &[i64], softcap: Option<f32>) -> Result<Tensor> {
    let shape = shape(hidden, head, softcap)?;
    let recording = tape::is_recording();
    let trained = head.tensor().filter(|tensor| recording && tensor.requires_grad());
    let wanted = Wanted { hidden: recording && hidden.requires_grad(), head: trained.is_some() };
    if let (Some(tensor), Layout::InOut) = (trained, head.layout()) {
        return Err(tensor.unexpected(OP, "head", "[vocab_size, hidden_size], because it is trained"));
    }
    if hidden.device() != Device::Cpu {
        return on_device::linear_cross_entropy(shape, hidden, head, labels, wanted);
    }
    let mut dhidden = match wanted.hidden {
        true => Some(Buffer::scratch(hidden.device(), DType::F32, hidden.count())?),
        false => None,
    };
    let zeros = |tensor: &Tensor| Buffer::zeroed(tensor.device(), DType::F32, tensor.count());
    let mut dhead = trained.map(zeros).transpose()?;
    let sum = run(shape, hidden, head, labels, dhidden.as_mut(), dhead.as_mut())?;
    let y = Buffer::from_f32(hidden.device(), &[sum.loss as f32])?;
    let mut parents = vec![hidden];
    let head_index = add_parent(&mut parents, head.tensor());
    Tensor::record(OP, [1], y, &parents, move |grad_y, sink| {
        let dy = grad_y.f32()?[0];
        for (index, gradient) in [(Some(0), dhidden), (head_index, dhead)] {
            if let (Some(index), Some(mut gradient)) = (index, gradient) {
                device::parallel::rows_mut(gradient.f32_mut()?, 1, 1 << 14, |_, g| g.iter_mut().for_each(|g| *g *= dy));
                sink.give(index, gradient)?;
            }
        }
        Ok(())
    })
}

/// The loss sum with the number of supervised and of correctly predicted tokens, for evaluation: nothing is recorded.
///
/// # Errors
/// As [`linear_cross_entropy`].
pub fn linear_cross_entropy_statistics(
    hidden: &Tensor,
    head: &Weight,
    labels: &[i64],
    softcap: Option<f32>,
) -> Result<LossSum> {
    let shape = shape(hidden, head, softcap)?;
    match hidden.device() {
        Device::Cpu => run(shape, hidden, head, labels, None, None),
        _ => on_device::statistics(shape, hidden, head, labels),
    }
}

/// Which gradients are computed.
#[derive(Clone, Copy)]
struct Wanted {
    hidden: bool,
    head: bool,
}

fn shape(hidden: &Tensor, head: &Weight, softcap: Option<f32>) -> Result<Shape> {
    let (rows, hidden_size) = hidden.matrix_shape(OP, "hidden")?;
    if hidden_size != head.in_features() {
        return Err(hidden.unexpected(OP, "hidden", format!("[num_tokens, {}]", head.in_features())));
    }
    let (vocab_size, precision) = (head.out_features(), hidden.precision());
    Ok(Shape { rows, hidden: hidden_size, vocab_size, softcap, precision })
}

fn run(
    shape: Shape,
    hidden: &Tensor,
    head: &Weight,
    labels: &[i64],
    dhidden: Option<&mut Buffer>,
    dhead: Option<&mut Buffer>,
) -> Result<LossSum> {
    let hidden = hidden.read();
    let dhidden = dhidden.map(Buffer::f32_mut).transpose()?;
    let dhead = dhead.map(Buffer::f32_mut).transpose()?;
    let hidden = hidden.f32(OP, "hidden")?;
    head.with_matrix(|head| forward_backward(shape, Arguments { hidden, head, labels, dhidden, dhead }))?
        .map_err(TensorError::kernel(OP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::ops::cross_entropy;

    const LABELS: [i64; 4] = [4, -100, 0, 2];

    #[test]
    fn gradients() {
        for softcap in [None, Some(2.0)] {
            let worst = gradcheck(&[values([4, 3], 1), values([5, 3], 2)], |x| {
                let head = Weight::dense(x[1].clone(), Layout::OutIn)?;
                linear_cross_entropy(&x[0], &head, &LABELS, softcap)
            })
            .unwrap();
            // The difference quotient's own error.
            assert!(worst <= 1e-3, "{worst}");
        }
    }

    #[test]
    fn it_is_cross_entropy_of_the_product_in_either_layout() {
        let hidden = Tensor::from_f32([2, 2], &[1.0, 2.0, -1.0, 0.5]).unwrap();
        let [out_in, in_out] = [[1.0, 0.0, 0.0, 1.0, 2.0, -1.0], [1.0, 0.0, 2.0, 0.0, 1.0, -1.0]];
        let out_in = Weight::dense(Tensor::from_f32([3, 2], &out_in).unwrap(), Layout::OutIn).unwrap();
        let in_out = Weight::dense(Tensor::from_f32([2, 3], &in_out).unwrap(), Layout::InOut).unwrap();
        let logits = Tensor::from_f32([2, 3], &[1.0, 2.0, 0.0, -1.0, 0.5, -2.5]).unwrap();
        let labels = [1, 2];
        let expected = cross_entropy(&logits, &labels, None).unwrap().item().unwrap();
        for head in [&out_in, &in_out] {
            // Small integers and halves: the products are exact.
            assert_eq!(linear_cross_entropy(&hidden, head, &labels, None).unwrap().item().unwrap(), expected);
            let sum = linear_cross_entropy_statistics(&hidden, head, &labels, None).unwrap();
            assert_eq!((sum.loss as f32, sum.num_supervised, sum.num_correct), (expected, 2, 1));
        }
    }

    #[test]
    fn a_trainable_head_must_be_stored_by_output() {
        let hidden = Tensor::from_f32([1, 2], &[1.0; 2]).unwrap();
        let head = Weight::dense(Tensor::leaf([2, 3], &[1.0; 6]).unwrap(), Layout::InOut).unwrap();
        assert!(matches!(linear_cross_entropy(&hidden, &head, &[0], None), Err(TensorError::Shape { .. })));
        let wide = Tensor::from_f32([1, 3], &[1.0; 3]).unwrap();
        assert!(matches!(linear_cross_entropy(&wide, &head, &[0], None), Err(TensorError::Shape { .. })));
    }
}
