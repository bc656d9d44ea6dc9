//! The weight as kernels.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use phm::PhmShape;
use phm::launch::{Factors, Gradient, ProductGradients, forward, grad_rule};

use super::OP;
use crate::{Result, Tensor, TensorError};

/// As [`super::phm_weight`], all of it in f32. `parents` are the rule and both factors.
pub(super) fn phm_weight(shape: PhmShape, sizes: [usize; 2], parents: [&Tensor; 3]) -> Result<Tensor> {
    let [rule, left, right] = parents;
    let parts = [("rule", rule), ("left", left), ("right", right)]
        .map(|(argument, tensor)| tensor.on_device(OP, argument, DType::F32));
    let [rule, left, right] = parts;
    let parts = [rule?, left?, right?];
    let mut weight = Buffer::scratch(parents[0].device(), DType::F32, sizes[0] * sizes[1])?;
    forward(&shape, factors(&parts), weight.memory_mut()?).map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, sizes, weight, &parents, move |grad, sink| {
        let (factors, grad, kernel) = (factors(&parts), grad.memory()?, TensorError::kernel(OP));
        sink.accumulate_on(0, DType::F32, |values, add| {
            grad_rule(&shape, factors, grad, Gradient { values, add }).map_err(&kernel)
        })?;
        if sink.needs(1) || sink.needs(2) {
            let products = ProductGradients::new(&shape, factors, grad).map_err(&kernel)?;
            sink.accumulate_on(1, DType::F32, |values, add| products.left(Gradient { values, add }).map_err(&kernel))?;
            sink.accumulate_on(2, DType::F32, |values, add| products.right(Gradient { values, add }).map_err(&kernel))?;
        }
        Ok(())
    })
}

fn factors([rule, left, right]: &[DeviceBuffer; 3]) -> Factors<'_> {
    Factors { rule, left, right }
}
