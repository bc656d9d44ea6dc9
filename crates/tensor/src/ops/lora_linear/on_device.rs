//! The projection as kernels.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use gemm::launch::Matrix;
use lora::LoraShape;
use lora::launch::{Backward, Gradient, Group, Output, Projection, Saved, forward};

use super::{LoraOperands, OP};
use crate::ops::linear::add_parent;
use crate::ops::linear::on_device::{give_bias_gradient, give_weight_gradient};
use crate::weight::WeightMemory;
use crate::{Result, Tensor, TensorError, Weight, saved};

/// The operands of one projection beside its input, in the type of that: the adapter's are kept in it until the parameters
/// change.
struct Operands {
    shape: LoraShape,
    dtype: DType,
    weight: WeightMemory,
    bias: Option<DeviceBuffer>,
    lora_a: DeviceBuffer,
    lora_b: DeviceBuffer,
    lora_bias: Option<DeviceBuffer>,
    adapter: LoraOperands,
}

/// As [`super::lora_linear()`], for operands of this shape. What is stored has the type of `x`; the adapter's gradients are
/// f32. An input that can be computed again, as that of a norm or an activation, is not kept for backward.
pub(super) fn lora_linear(
    shape: LoraShape,
    x: &Tensor,
    weight: &Weight,
    bias: Option<&Tensor>,
    adapter: &LoraOperands,
) -> Result<Tensor> {
    let operands = Operands::new(shape, x, weight, bias, adapter)?;
    let (n, outputs) = (shape.num_tokens(), shape.out_features());
    let mut y = Buffer::scratch(x.device(), operands.dtype, n * outputs)?;
    let mut s = Buffer::scratch(x.device(), operands.dtype, n * shape.rank())?;
    let projections = [operands.projection()?];
    let output = Output { y: y.memory_mut()?, s: s.memory_mut()? };
    let memory = x.on_device(OP, "x", operands.dtype)?;
    forward(operands.group(&memory, &projections), &mut [output]).map_err(TensorError::kernel(OP))?;
    let kept_x = saved::Saved::new(x)?;

    let mut parents = vec![x, &adapter.a, &adapter.b];
    let lora_bias_index = add_parent(&mut parents, adapter.bias.as_ref());
    let weight_index = add_parent(&mut parents, weight.tensor());
    let bias_index = add_parent(&mut parents, bias);
    Tensor::record(OP, [n, outputs], y, &parents, move |grad_y, sink| {
        let (projections, kernel) = ([operands.projection()?], TensorError::kernel(OP));
        let grad_y = grad_y.memory()?;
        let saved = [Saved { s: s.memory()?, grad_y }];
        let x = kept_x.get()?.on_device(OP, "x", operands.dtype)?;
        let backward = Backward::new(operands.group(&x, &projections), &saved).map_err(&kernel)?;
        sink.accumulate_on(0, operands.dtype, |values, add| backward.x(Gradient { values, add }).map_err(&kernel))?;
        sink.accumulate_on(1, DType::F32, |values, add| {
            backward.lora_a(&mut [Gradient { values, add }]).map_err(&kernel)
        })?;
        sink.accumulate_on(2, DType::F32, |values, add| {
            backward.lora_b(&mut [Gradient { values, add }]).map_err(&kernel)
        })?;
        if let Some(index) = lora_bias_index {
            sink.accumulate_on(index, DType::F32, |values, add| {
                backward.lora_bias(0, Gradient { values, add }).map_err(&kernel)
            })?;
        }
        let grad_y = Matrix::new(grad_y, operands.dtype, n, outputs);
        if let (Some(index), WeightMemory::Dense(weight)) = (weight_index, &operands.weight)
            && sink.needs(index)
        {
            let x = Matrix::new(&x, operands.dtype, n, shape.in_features());
            give_weight_gradient(OP, sink, index, weight, grad_y, x)?;
        }
        bias_index.map_or(Ok(()), |index| give_bias_gradient(OP, sink, index, grad_y))
    })
}

impl Operands {
    fn new(
        shape: LoraShape,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        adapter: &LoraOperands,
    ) -> Result<Self> {
        let dtype = x.dtype();
        let optional =
            |argument, tensor: Option<&Tensor>| tensor.map(|tensor| tensor.on_device(OP, argument, dtype)).transpose();
        Ok(Self {
            shape,
            dtype,
            weight: weight.on_device(OP, x.device(), dtype)?,
            bias: optional("bias", bias)?,
            lora_a: adapter.a.on_device(OP, "lora_a", dtype)?,
            lora_b: adapter.b.on_device(OP, "lora_b", dtype)?,
            lora_bias: optional("lora_bias", adapter.bias.as_ref())?,
            adapter: adapter.clone(),
        })
    }

    fn projection(&self) -> Result<Projection<'_>> {
        let weight = match &self.weight {
            WeightMemory::Dense(w) => lora::launch::Weight::Dense { buffer: w.memory(), transposed: w.is_transposed() },
            WeightMemory::Nf4(w) => lora::launch::Weight::Nf4(w.matrix().map_err(TensorError::kernel(OP))?),
        };
        Ok(Projection {
            shape: self.shape,
            weight,
            bias: self.bias.as_ref(),
            lora_a: &self.lora_a,
            lora_b: &self.lora_b,
            lora_bias: self.lora_bias.as_ref(),
            scaling: self.adapter.scaling,
            dropout: self.adapter.dropout,
        })
    }

    fn group<'a>(&self, x: &'a DeviceBuffer, projections: &'a [Projection<'a>]) -> Group<'a> {
        Group { dtype: self.dtype, x, projections }
    }
}
