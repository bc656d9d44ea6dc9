//! Ops with several outputs.
//!
//! Such an op is recorded as one node with an empty output, the parent of a node for each real one. These run first in
//! backward, as all children do; each hands its gradient over, and the op is given all of them at once.

use std::sync::{Arc, Mutex, PoisonError};

use device::Buffer;

use crate::{Result, Shape, Sink, Tensor};

impl Tensor {
    /// The outputs of an op. `backward` gets the gradient of each, `None` where nothing needed it, and gives gradients to
    /// `parents` as in [`Tensor::record`].
    ///
    /// # Errors
    /// [`crate::TensorError::Count`] if a buffer does not fill its shape; [`crate::TensorError::Device`].
    pub(crate) fn record_several(
        op: &'static str,
        mut outputs: Vec<(Shape, Buffer)>,
        parents: &[&Tensor],
        backward: impl FnOnce(Vec<Option<Buffer>>, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Vec<Self>> {
        if outputs.len() == 1 {
            let record = |(shape, buffer)| {
                Self::record(op, shape, buffer, parents, |gradient, sink| backward(vec![Some(gradient)], sink))
            };
            return outputs.pop().map(record).into_iter().collect();
        }
        let nothing = |buffer: &Buffer| Buffer::scratch(buffer.device(), buffer.dtype(), 0);
        let Some(empty) = outputs.first().map(|(_, buffer)| nothing(buffer)).transpose()? else {
            return Ok(Vec::new());
        };
        let gradients = Arc::new(Mutex::new(Vec::new()));
        gradients.lock().unwrap_or_else(PoisonError::into_inner).resize_with(outputs.len(), || None);
        let received = Arc::clone(&gradients);
        let joint = Self::record(op, [0], empty, parents, move |_, sink| {
            let received = std::mem::take(&mut *received.lock().unwrap_or_else(PoisonError::into_inner));
            backward(received, sink)
        })?;
        let record = |(index, (shape, buffer)): (usize, (Shape, Buffer))| {
            let gradients = Arc::clone(&gradients);
            Self::record(op, shape, buffer, &[&joint], move |gradient, sink| {
                gradients.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(gradient);
                sink.reach(0)
            })
        };
        outputs.into_iter().enumerate().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gradients, backward, ops, tape};

    /// `2 x` and `3 x`; which outputs have a gradient shows in that of `x`.
    fn multiples(x: &Tensor) -> Vec<Tensor> {
        let scaled = |factor: f32| {
            let values: Vec<f32> = x.to_vec().iter().map(|x| factor * x).collect();
            (Shape::from([x.count()]), Buffer::from_f32(x.device(), &values).unwrap())
        };
        Tensor::record_several("multiples", vec![scaled(2.0), scaled(3.0)], &[x], |gradients, sink| {
            for (gradient, factor) in gradients.iter().zip([2.0, 3.0]) {
                let Some(gradient) = gradient else { continue };
                sink.accumulate(0, |out, add| {
                    let products = gradient.f32()?.iter().map(|dy| factor * dy);
                    out.iter_mut().zip(products).for_each(|(out, dx)| *out = if add { *out + dx } else { dx });
                    Ok(())
                })?;
            }
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn every_output_that_is_used_is_differentiated() {
        let x = Tensor::leaf([2], &[1.0, -1.0]).unwrap();
        let gradient = |choose: &dyn Fn(Vec<Tensor>) -> Tensor| {
            // Behind another op, so that gradients are not those of a leaf.
            let outputs = multiples(&ops::scale(&x, 1.0).unwrap());
            let loss = ops::weighted_sum(&choose(outputs), &[1.0, 10.0]).unwrap();
            let mut gradients = Gradients::new([&x]).unwrap();
            backward(&loss, 1.0, &mut gradients).unwrap();
            gradients.of(&x).unwrap().to_vec()
        };
        assert_eq!(gradient(&|y| ops::add(&y[0], &y[1]).unwrap()), [5.0, 50.0]);
        assert_eq!(gradient(&|y| y[0].clone()), [2.0, 20.0]);
        assert_eq!(gradient(&|y| ops::add(&y[1], &y[1]).unwrap()), [6.0, 60.0]);
    }

    #[test]
    fn without_a_tape_nothing_is_recorded() {
        let x = Tensor::leaf([1], &[1.0]).unwrap();
        assert!(multiples(&x).iter().all(Tensor::requires_grad));
        assert!(tape::no_grad(|| multiples(&x)).iter().all(|y| !y.requires_grad()));
        let constant = Tensor::from_f32([1], &[1.0]).unwrap();
        assert!(multiples(&constant).iter().all(|y| !y.requires_grad()));
    }
}
