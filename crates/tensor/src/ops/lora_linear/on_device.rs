//! The projections as kernels.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use gemm::launch::Matrix;
use lora::LoraShape;
use lora::launch::{Backward, Gradient, Group, Output, Projection, Saved, forward};

use super::{Indices, LoraOperands, LoraProjection, OP};
use crate::ops::linear::on_device::{give_bias_gradient, give_weight_gradient};
use crate::weight::WeightMemory;
use crate::{Layout, Result, Sink, Tensor, TensorError, Weight, saved};

/// Projections that a launch takes at most.
const MOST: usize = 3;

/// Whether one launch takes all of them: kernels for quantized weights read dense ones by rows, and gradients of adapters that
/// are written together lie apart.
pub(super) fn are_one_launch(projections: &[LoraProjection<'_>]) -> bool {
    let trained: Vec<&Tensor> = projections.iter().flat_map(|one| [&one.adapter.a, &one.adapter.b]).collect();
    let are_apart = trained.iter().enumerate().all(|(i, one)| !trained[..i].iter().any(|other| other.is(one)));
    let is_quantized = |one: &LoraProjection<'_>| matches!(one.weight, Weight::Nf4(_));
    let same_layout = projections.iter().all(|one| one.weight.layout() == Layout::OutIn);
    projections.len() <= MOST
        && (same_layout || !projections.iter().any(is_quantized))
        && are_apart
        && trained.iter().all(|one| one.requires_grad())
}

/// The operands of one projection beside its input, in the type of that: the adapter's are kept in it until the parameters
/// change.
struct Operands {
    shape: LoraShape,
    weight: WeightMemory,
    bias: Option<DeviceBuffer>,
    lora_a: DeviceBuffer,
    lora_b: DeviceBuffer,
    lora_bias: Option<DeviceBuffer>,
    adapter: LoraOperands,
    indices: Indices,
}

/// As [`super::lora_linears()`], for projections of these shapes that one launch takes. What is stored has the type of `x`; the
/// adapters' gradients are f32. An input that can be computed again, as that of a norm or an activation, is not kept for
/// backward.
pub(super) fn lora_linears(x: &Tensor, projections: &[(LoraShape, LoraProjection<'_>)]) -> Result<Vec<Tensor>> {
    let dtype = x.dtype();
    let (mut operands, mut parents) = (Vec::new(), vec![x]);
    let (mut outputs, mut kept_s) = (Vec::new(), Vec::new());
    for &(shape, projection) in projections {
        operands.push(Operands::new(shape, x, projection, Indices::add(&mut parents, projection))?);
        let (n, features) = (shape.num_tokens(), shape.out_features());
        outputs.push(([n, features].into(), Buffer::scratch(x.device(), dtype, n * features)?));
        kept_s.push(Buffer::scratch(x.device(), dtype, n * shape.rank())?);
    }
    {
        let memory = x.on_device(OP, "x", dtype)?;
        let launched = operands.iter().map(Operands::projection).collect::<Result<Vec<_>>>()?;
        let written = outputs.iter_mut().zip(&mut kept_s);
        let written = written.map(|((_, y), s)| Ok(Output { y: y.memory_mut()?, s: s.memory_mut()? }));
        let mut written = written.collect::<Result<Vec<_>>>()?;
        forward(Group { dtype, x: &memory, projections: &launched }, &mut written).map_err(TensorError::kernel(OP))?;
    }
    let kept_x = saved::Saved::new(x)?;
    Tensor::record_several(OP, outputs, &parents, move |gradients, sink| {
        // A result that nothing depends on has no gradient.
        let mut live = Vec::new();
        for ((operands, s), gradient) in operands.iter().zip(&kept_s).zip(&gradients) {
            if let Some(grad_y) = gradient {
                live.push((operands, Saved { s: s.memory()?, grad_y: grad_y.memory()? }));
            }
        }
        give_gradients(&kept_x.get()?.on_device(OP, "x", dtype)?, dtype, &live, sink)
    })
}

/// Gives all gradients of the projections whose `dY` is there.
fn give_gradients(x: &DeviceBuffer, dtype: DType, live: &[(&Operands, Saved<'_>)], sink: &mut Sink<'_>) -> Result<()> {
    let kernel = TensorError::kernel(OP);
    let projections = live.iter().map(|(operands, _)| operands.projection()).collect::<Result<Vec<_>>>()?;
    let saved: Vec<Saved<'_>> = live.iter().map(|(_, saved)| *saved).collect();
    let backward = Backward::new(Group { dtype, x, projections: &projections }, &saved).map_err(&kernel)?;
    sink.accumulate_on(0, dtype, |values, add| backward.x(Gradient { values, add }).map_err(&kernel))?;
    let of_adapters = |of: fn(&Indices) -> usize| live.iter().map(move |(one, _)| of(&one.indices)).collect::<Vec<_>>();
    let (of_a, of_b) = (of_adapters(|indices| indices.a), of_adapters(|indices| indices.b));
    if of_a.iter().all(|&index| sink.needs(index)) {
        sink.accumulate_all_on(&of_a, DType::F32, |memory| backward.lora_a(&mut gradients(memory)).map_err(&kernel))?;
    }
    if of_b.iter().all(|&index| sink.needs(index)) {
        sink.accumulate_all_on(&of_b, DType::F32, |memory| backward.lora_b(&mut gradients(memory)).map_err(&kernel))?;
    }
    for (position, (Operands { shape, weight, indices, .. }, saved)) in live.iter().enumerate() {
        if let Some(index) = indices.lora_bias {
            sink.accumulate_on(index, DType::F32, |values, add| {
                backward.lora_bias(position, Gradient { values, add }).map_err(&kernel)
            })?;
        }
        let grad_y = Matrix::new(saved.grad_y, dtype, shape.num_tokens(), shape.out_features());
        if let (Some(index), WeightMemory::Dense(weight)) = (indices.weight, weight)
            && sink.needs(index)
        {
            let x = Matrix::new(x, dtype, shape.num_tokens(), shape.in_features());
            give_weight_gradient(OP, sink, index, weight, grad_y, x)?;
        }
        if let Some(index) = indices.bias {
            give_bias_gradient(OP, sink, index, grad_y)?;
        }
    }
    Ok(())
}

fn gradients(memory: &mut [(DeviceBuffer, bool)]) -> Vec<Gradient<'_>> {
    memory.iter_mut().map(|(values, add)| Gradient { values, add: *add }).collect()
}

impl Operands {
    fn new(shape: LoraShape, x: &Tensor, projection: LoraProjection<'_>, indices: Indices) -> Result<Self> {
        let LoraProjection { weight, bias, adapter } = projection;
        let dtype = x.dtype();
        let optional =
            |argument, tensor: Option<&Tensor>| tensor.map(|tensor| tensor.on_device(OP, argument, dtype)).transpose();
        Ok(Self {
            shape,
            weight: weight.on_device(OP, x.device(), dtype)?,
            bias: optional("bias", bias)?,
            lora_a: adapter.a.on_device(OP, "lora_a", dtype)?,
            lora_b: adapter.b.on_device(OP, "lora_b", dtype)?,
            lora_bias: optional("lora_bias", adapter.bias.as_ref())?,
            adapter: adapter.clone(),
            indices,
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
}
