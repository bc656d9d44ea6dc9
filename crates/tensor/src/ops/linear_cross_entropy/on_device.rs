//! The loss as kernels: logits of some rows at a time.

use device::{Buffer, DType};
use transformer::cross_entropy::LossSum;
use transformer::launch::cross_entropy::Sums;
use transformer::launch::elementwise::{Factor, scale_in_place};
use transformer::launch::linear_cross_entropy::{Arguments, forward_backward};
use transformer::linear_cross_entropy::Shape;

use super::{OP, Wanted};
use crate::ops::linear::add_parent;
use crate::{Result, Tensor, TensorError, Weight};

/// As [`super::linear_cross_entropy`]. Logits and the gradient of `hidden` have its type, the gradient of the head and the
/// loss are f32. A quantized head is dequantized for the op. Nothing waits for the device.
pub(super) fn linear_cross_entropy(
    shape: Shape,
    hidden: &Tensor,
    head: &Weight,
    labels: &[i64],
    wanted: Wanted,
) -> Result<Tensor> {
    let zeros = |wanted, dtype, count| -> Result<Option<Buffer>> {
        if wanted { Ok(Some(Buffer::zeroed(hidden.device(), dtype, count)?)) } else { Ok(None) }
    };
    let mut dhidden = zeros(wanted.hidden, hidden.dtype(), hidden.count())?;
    let mut dhead = zeros(wanted.head, DType::F32, shape.vocab_size * shape.hidden)?;
    let sums = run(shape, hidden, head, labels, dhidden.as_mut(), dhead.as_mut())?;
    let y = Buffer::on_device(sums.loss().map_err(TensorError::kernel(OP))?, DType::F32)?;
    let mut parents = vec![hidden];
    let head_index = add_parent(&mut parents, head.tensor());
    Tensor::record(OP, [1], y, &parents, move |grad_y, sink| {
        let dy = Factor::Times(1.0, grad_y.memory()?);
        for (index, gradient) in [(Some(0), dhidden), (head_index, dhead)] {
            if let (Some(index), Some(mut gradient)) = (index, gradient) {
                let (count, dtype) = (gradient.len(), gradient.dtype());
                scale_in_place(count, dy, (dtype, gradient.memory_mut()?)).map_err(TensorError::kernel(OP))?;
                sink.give(index, gradient)?;
            }
        }
        Ok(())
    })
}

/// As [`super::linear_cross_entropy_statistics`]. Waits for the sums.
pub(super) fn statistics(shape: Shape, hidden: &Tensor, head: &Weight, labels: &[i64]) -> Result<LossSum> {
    run(shape, hidden, head, labels, None, None)?.read().map_err(TensorError::kernel(OP))
}

fn run(
    shape: Shape,
    hidden: &Tensor,
    head: &Weight,
    labels: &[i64],
    dhidden: Option<&mut Buffer>,
    dhead: Option<&mut Buffer>,
) -> Result<Sums> {
    let dtype = hidden.dtype();
    let weight = head.on_device(OP, hidden.device(), dtype)?.into_dense(OP, dtype)?;
    let hidden = hidden.on_device(OP, "hidden", dtype)?;
    let mut sums = Sums::new(hidden.executor()).map_err(TensorError::kernel(OP))?;
    let args = Arguments {
        dtype,
        hidden: &hidden,
        head: weight.matrix(),
        labels,
        dhidden: dhidden.map(Buffer::memory_mut).transpose()?,
        dhead: dhead.map(Buffer::memory_mut).transpose()?,
        sums: &mut sums,
    };
    forward_backward(shape, args).map_err(TensorError::kernel(OP))?;
    Ok(sums)
}
