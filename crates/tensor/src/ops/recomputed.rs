//! A result that is kept as the inputs it came from.
//!
//! Unlike in a [`checkpoint`](super::checkpoint()) the ops of the body are recorded and keep what their own backward needs;
//! only those that come after, and need the result, keep no copy of it.

use crate::saved::Saved;
use crate::{Result, Tensor, tape};

/// `y`, which is `body(inputs)`. Ops that need it in their backward keep `inputs` instead, and `body` runs a second time,
/// unrecorded, when the first of them asks.
///
/// # Errors
/// [`crate::TensorError::Device`] without memory.
pub fn recomputed(
    y: Tensor,
    inputs: &[&Tensor],
    body: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !y.is_worth_a_recipe() {
        return Ok(y);
    }
    let saved: Vec<_> = inputs.iter().map(|x| Ok((Saved::new(x)?, x.precision()))).collect::<Result<_>>()?;
    Ok(y.with_recipe(move || {
        let again = |(x, precision): &(Saved, _)| Ok(x.get()?.with_precision(*precision));
        let inputs: Vec<Tensor> = saved.iter().map(again).collect::<Result<_>>()?;
        tape::no_grad(|| body(&inputs))
    }))
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
        let worst = gradcheck(&[values([2, 3], 1), values([2, 3], 2)], |x| {
            let up = recomputed(ops::scale(&x[1], 3.0)?, &[&x[1]], |x| ops::scale(&x[0], 3.0))?;
            ops::gated_activation(&x[0], &up, Activation::Silu)
        })
        .unwrap();
        // The difference quotient's own error.
        assert!(worst <= 1e-3, "{worst}");
    }

    #[test]
    fn the_body_runs_once_for_all_that_need_it_and_only_in_backward() {
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let x = Tensor::leaf([1, 2], &[0.5, -1.0]).unwrap();
        let y = recomputed(ops::scale(&x, 2.0).unwrap(), &[&x], move |x| {
            count.fetch_add(1, Ordering::Relaxed);
            ops::scale(&x[0], 2.0)
        });
        let y = y.unwrap();
        let [a, b] = [1, 2].map(|_| ops::activation(&y, Activation::Silu).unwrap());
        drop(y);
        let loss = ops::weighted_sum(&ops::add(&a, &b).unwrap(), &[1.0, 1.0]).unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 0);
        let mut gradients = Gradients::new([&x]).unwrap();
        backward(&loss, 1.0, &mut gradients).unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
