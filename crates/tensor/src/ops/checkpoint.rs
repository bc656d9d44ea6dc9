//! Gradient checkpointing: a part of the graph that keeps its inputs only and is computed again in backward.
//!
//! Source: Chen et al. 2016, "Training deep nets with sublinear memory cost". Random numbers in it must depend on position,
//! not on history (see `device::philox`), so that the second pass repeats the first.

use crate::tape::{self, Mode, Parent};
use crate::{Result, Tensor, TensorError};

/// Computes `body(inputs)` without keeping what it saves. Trainable tensors that `body` captures get their gradients too.
///
/// # Errors
/// Those of `body`.
pub fn checkpoint(inputs: &[&Tensor], body: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'static) -> Result<Tensor> {
    const OP: &str = "checkpoint";
    if tape::mode() != Mode::Record {
        return body(&inputs.iter().map(|x| (*x).clone()).collect::<Vec<_>>());
    }
    let saved: Vec<Tensor> = inputs.iter().map(|x| x.detach_as_leaf()).collect();
    let y = tape::with_mode(Mode::Track, || body(&saved))?;
    if !y.requires_grad() {
        return Ok(y);
    }
    Tensor::record_recomputed(OP, &y, inputs, move |grad_y, sink| {
        let again = tape::with_mode(Mode::Record, || body(&saved))?;
        let Parent::Node { node, .. } = again.as_parent() else { return Err(TensorError::NoHistory) };
        // The values of the output are not needed, only its history.
        drop(again);
        sink.run_recomputed(node, grad_y, &saved)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, backward, ops};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([4], 1), values([4], 2)], |x| {
            let captured = x[1].clone();
            checkpoint(&[&x[0]], move |x| ops::scale(&ops::add(&x[0], &captured)?, 3.0))
        })
        .unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn only_a_captured_parameter_is_trainable() {
        let (x, p) = (Tensor::from_f32([1], &[1.0]).unwrap(), Tensor::leaf([1], &[2.0]).unwrap());
        let mut gradients = Gradients::new([&p]).unwrap();
        let captured = p.clone();
        let y = checkpoint(&[&x], move |x| ops::add(&ops::scale(&captured, 5.0)?, &x[0])).unwrap();
        backward(&y, 1.0, &mut gradients).unwrap();
        assert_eq!(gradients.of(&p).unwrap(), [5.0]);
        assert!(matches!(backward(&y, 1.0, &mut gradients), Err(TensorError::BackwardTwice { .. })));
    }

    #[test]
    fn nested_blocks() {
        let x = Tensor::leaf([1], &[2.0]).unwrap();
        let mut gradients = Gradients::new([&x]).unwrap();
        let y = checkpoint(&[&x], |x| {
            let inner = checkpoint(&[&x[0]], |x| ops::scale(&x[0], 2.0))?;
            ops::add(&inner, &x[0])
        })
        .unwrap();
        backward(&y, 1.0, &mut gradients).unwrap();
        assert_eq!((y.item().unwrap(), gradients.of(&x).unwrap()), (6.0, &[3.0f32][..]));
    }

    #[test]
    fn frozen_blocks_are_constants() {
        let x = Tensor::from_f32([1], &[2.0]).unwrap();
        assert!(!checkpoint(&[&x], |x| ops::scale(&x[0], 2.0)).unwrap().requires_grad());
    }
}
