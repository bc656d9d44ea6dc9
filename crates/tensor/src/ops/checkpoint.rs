//! Gradient checkpointing: a part of the graph that keeps its inputs only and is computed again in backward.
//!
//! What is computed again is kept until its backward has run: inside of it norms and gates have no recipes (see
//! [`recomputed`](super::recomputed())).
//!
//! On a device with memory of its own the first input, which is the largest, can wait on the host ([`Offload`]).
//!
//! Source: Chen et al. 2016, "Training deep nets with sublinear memory cost". Random numbers in it must depend on position,
//! not on history (see `device::philox`), so that the second pass repeats the first.

use device::DType;

use crate::offload::Kept;
use crate::tape::{self, Mode, Parent};
use crate::{Offload, Result, Tensor, TensorError};

const OP: &str = "checkpoint";

/// Computes `body(inputs)` without keeping what it saves. Trainable tensors that `body` captures get their gradients too. With
/// `offload`, which is for devices other than the CPU, the first input is kept there.
///
/// # Errors
/// Those of `body`; [`TensorError::Device`] where nothing can be kept on the host.
pub fn checkpoint(
    inputs: &[&Tensor],
    offload: Option<&Offload>,
    body: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'static,
) -> Result<Tensor> {
    if !tape::is_recording() {
        return body(&inputs.iter().map(|x| (*x).clone()).collect::<Vec<_>>());
    }
    let saved: Vec<Tensor> = inputs.iter().map(|x| x.detach_as_leaf()).collect();
    let kept = offload.zip(saved.first()).map(|(offload, x)| offload.keep(OP, x)).transpose()?;
    let y = tape::with_mode(Mode::Track, || body(&saved))?;
    if !y.requires_grad() {
        return Ok(y);
    }
    let saved = Saved::new(saved, kept);
    Tensor::record_recomputed(OP, &y, inputs, move |grad_y, sink| {
        let saved = saved.inputs()?;
        let again = tape::with_mode(Mode::RecordAgain, || body(&saved))?;
        let Parent::Node { node, .. } = again.as_parent() else { return Err(TensorError::NoHistory) };
        // The values of the output are not needed, only its history.
        drop(again);
        sink.run_recomputed(node, grad_y, &saved)
    })
}

/// What is kept of the inputs, leaves of the recomputed part where they need a gradient.
enum Saved {
    Tensors(Vec<Tensor>),
    /// The first input elsewhere, and the others.
    Offloaded {
        first: Kept,
        like: FirstLike,
        others: Vec<Tensor>,
    },
}

/// What the first input has besides its elements.
struct FirstLike {
    precision: DType,
    requires_grad: bool,
}

impl Saved {
    fn new(mut inputs: Vec<Tensor>, first: Option<Kept>) -> Self {
        let Some(first) = first else { return Saved::Tensors(inputs) };
        let x = inputs.remove(0);
        let like = FirstLike { precision: x.precision(), requires_grad: x.requires_grad() };
        Saved::Offloaded { first, like, others: inputs }
    }

    fn inputs(self) -> Result<Vec<Tensor>> {
        match self {
            Saved::Tensors(inputs) => Ok(inputs),
            Saved::Offloaded { first, like, others } => {
                let x = first.take(OP)?.with_precision(like.precision);
                let x = if like.requires_grad { x.to_leaf() } else { x };
                Ok([x].into_iter().chain(others).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use transformer::Activation;

    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, backward, ops};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([4], 1), values([4], 2)], |x| {
            let captured = x[1].clone();
            checkpoint(&[&x[0]], None, move |x| ops::scale(&ops::add(&x[0], &captured)?, 3.0))
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
        let y = checkpoint(&[&x], None, move |x| ops::add(&ops::scale(&captured, 5.0)?, &x[0])).unwrap();
        backward(&y, 1.0, &mut gradients).unwrap();
        assert_eq!(gradients.of(&p).unwrap(), [5.0]);
        assert!(matches!(backward(&y, 1.0, &mut gradients), Err(TensorError::BackwardTwice { .. })));
    }

    #[test]
    fn nested_blocks() {
        let x = Tensor::leaf([1], &[2.0]).unwrap();
        let mut gradients = Gradients::new([&x]).unwrap();
        let y = checkpoint(&[&x], None, |x| {
            let inner = checkpoint(&[&x[0]], None, |x| ops::scale(&x[0], 2.0))?;
            ops::add(&inner, &x[0])
        })
        .unwrap();
        backward(&y, 1.0, &mut gradients).unwrap();
        assert_eq!((y.item().unwrap(), gradients.of(&x).unwrap()), (6.0, &[3.0f32][..]));
    }

    #[test]
    fn frozen_blocks_are_constants() {
        let x = Tensor::from_f32([1], &[2.0]).unwrap();
        assert!(!checkpoint(&[&x], None, |x| ops::scale(&x[0], 2.0)).unwrap().requires_grad());
    }

    #[test]
    fn nothing_is_computed_a_third_time() {
        let runs = Arc::new(AtomicUsize::new(0));
        let x = Tensor::leaf([1, 2], &[0.5, -1.0]).unwrap();
        let count = Arc::clone(&runs);
        let y = checkpoint(&[&x], None, move |x| {
            let scaled = |x: &Tensor, runs: &AtomicUsize| {
                runs.fetch_add(1, Ordering::Relaxed);
                ops::scale(x, 2.0)
            };
            let again = Arc::clone(&count);
            let y = ops::recomputed(scaled(&x[0], &count)?, &[&x[0]], move |x| scaled(&x[0], &again))?;
            ops::activation(&y, Activation::Silu)
        });
        let loss = ops::weighted_sum(&y.unwrap(), &[1.0, 1.0]).unwrap();
        backward(&loss, 1.0, &mut Gradients::new([&x]).unwrap()).unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    /// On the emulated device, which copies as late as it may, in graphs and out of them.
    #[cfg(feature = "emulator")]
    #[test]
    fn inputs_on_the_host_change_no_bit() {
        use device::Device;
        use device::launch::Executor;

        use crate::{Parameters, Shape};

        let executor = Executor::for_device(Device::Emulated).unwrap();
        let run = |offload: Option<&Offload>| -> Result<Vec<f32>> {
            let parameters = Parameters::zeros_on(Device::Emulated, [("p".to_owned(), Shape::from([2, 40]))])?;
            let (_, drawn) = values([2, 40], 3);
            parameters.set(0, &drawn)?;
            let parameter = parameters.tensors().next().unwrap();
            let mut gradients = Gradients::new([parameter])?;
            let mut x = Tensor::from_f32([2, 40], &drawn)?.to_device(Device::Emulated, DType::F32)?;
            for layer in 1..5u8 {
                let parameter = parameter.clone();
                // What it gives depends on every element of its input, and so does its gradient.
                x = checkpoint(&[&x], offload, move |x| {
                    let gated = ops::gated_activation(&x[0], &parameter, Activation::Silu)?;
                    ops::add(&x[0], &ops::scale(&gated, f32::from(layer))?)
                })?;
            }
            let weights: Vec<f32> = (0..80u8).map(|i| f32::from(i) / 80.0 - 0.5).collect();
            backward(&ops::weighted_sum(&x, &weights)?, 1.0, &mut gradients)?;
            let of = gradients.to_host()?.of(parameter).unwrap().to_vec();
            Ok(of.into_iter().chain(x.to_vec()).collect())
        };
        let kept = run(None).unwrap();
        assert!(kept.iter().all(|value| value.is_finite()));
        assert_eq!(run(Some(&Offload::default())).unwrap(), kept);
        for _ in 0..3 {
            assert_eq!(executor.in_graphs(|| run(Some(&Offload::default()))).unwrap(), kept);
        }
    }
}
