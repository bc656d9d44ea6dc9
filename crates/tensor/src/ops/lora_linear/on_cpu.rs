//! The projections on the CPU.

use device::{Buffer, DType, Device};
use gemm::Matrix;
use lora::{Adapter, Backward, Forward, Input, LoraShape};

use super::{Indices, LoraOperands, LoraProjection, OP};
use crate::ops::linear::{give_bias_gradient, give_weight_gradient, on_int8, update};
use crate::saved::Saved;
use crate::{Read, Result, Sink, Tensor, TensorError, Weight};

/// As [`super::lora_linears()`], for projections of these shapes.
pub(super) fn lora_linears(x: &Tensor, projections: &[(LoraShape, LoraProjection<'_>)]) -> Result<Vec<Tensor>> {
    let precision = x.precision();
    let (mut outputs, mut kept, mut parents) = (Vec::new(), Vec::new(), vec![x]);
    {
        let read = x.read();
        let (rows, columns) = x.matrix_shape(OP, "x")?;
        let input = Input::forward(read.f32(OP, "x")?, [rows, columns], precision).map_err(TensorError::kernel(OP))?;
        for &(shape, projection) in projections {
            let (y, s) = project(shape, x, &input, projection)?;
            outputs.push(([rows, shape.out_features()].into(), y));
            let LoraProjection { weight, adapter, .. } = projection;
            let indices = Indices::add(&mut parents, projection);
            kept.push(Kept { shape, weight: weight.clone(), adapter: adapter.clone(), s, indices });
        }
    }
    let saved_x = Saved::new(x)?;
    Tensor::record_several(OP, outputs, &parents, move |gradients, sink| {
        // A result that nothing depends on has no gradient.
        let mut live = Vec::new();
        for (kept, gradient) in kept.iter().zip(&gradients) {
            live.extend(gradient.as_ref().map(|grad_y| Ok::<_, TensorError>((kept, grad_y.f32()?))).transpose()?);
        }
        give_gradients(&saved_x.stored()?, precision, &live, sink)
    })
}

/// `y` and `s` of one projection.
fn project(
    shape: LoraShape,
    x: &Tensor,
    input: &Input<'_>,
    LoraProjection { weight, bias, adapter }: LoraProjection<'_>,
) -> Result<(Buffer, Buffer)> {
    let mut y = Buffer::scratch(Device::Cpu, DType::F32, shape.num_tokens() * shape.out_features())?;
    let mut s = Buffer::scratch(Device::Cpu, DType::F32, shape.num_tokens() * shape.rank())?;
    {
        let (y, s) = (y.f32_mut()?, s.f32_mut()?);
        // What integers have given already is not given again.
        let bias = match weight {
            Weight::Int8(weight) => on_int8::project(OP, x, weight, bias, y).map(|()| None)?,
            _ => bias,
        };
        let (bias, operands) = (bias.map(Tensor::read), adapter.read());
        let (bias, adapter) = (bias.as_ref().map(Read::elements), operands.adapter(adapter)?);
        let mut forward = |weight: Option<Matrix<'_>>| {
            lora::forward(&shape, Forward { input, weight, bias, adapter, y, s }).map_err(TensorError::kernel(OP))
        };
        match weight {
            Weight::Int8(_) => forward(None)?,
            _ => weight.with_matrix(|weight| forward(Some(weight)))??,
        }
    }
    Ok((y, s))
}

/// What one projection keeps for backward beside `x`.
struct Kept {
    shape: LoraShape,
    weight: Weight,
    adapter: LoraOperands,
    s: Buffer,
    indices: Indices,
}

/// Gives all gradients of the projections whose `dY` is there.
fn give_gradients(x: &Tensor, precision: DType, live: &[(&Kept, &[f32])], sink: &mut Sink<'_>) -> Result<()> {
    let kernel = TensorError::kernel(OP);
    for (kept, grad_y) in live {
        if let Weight::Int8(weight) = &kept.weight {
            on_int8::give_input_gradient(OP, sink, weight, grad_y)?;
        }
    }
    let operands: Vec<_> = live.iter().map(|(kept, _)| kept.adapter.read()).collect();
    let adapters = operands.iter().zip(live).map(|(read, (kept, _))| read.adapter(&kept.adapter));
    let adapters: Vec<Adapter<'_>> = adapters.collect::<Result<_>>()?;
    let (rows, columns) = x.matrix_shape(OP, "x")?;
    let read = x.read();
    let input = Input::saved(read.elements(), [rows, columns], precision, &adapters).map_err(&kernel)?;
    let weights: Vec<&Weight> = live.iter().map(|(kept, _)| &kept.weight).collect();
    with_matrices(&weights, Vec::new(), &mut |weights| {
        let mut projections = Vec::new();
        for (((kept, grad_y), &adapter), &weight) in live.iter().zip(&adapters).zip(weights) {
            let saved = lora::Saved { input: &input, weight, adapter, s: kept.s.f32()? };
            projections.push(Backward::new(&kept.shape, saved, grad_y).map_err(&kernel)?);
        }
        sink.accumulate(0, |grad, add| lora::grad_x(&projections, update(add), grad).map_err(&kernel))?;
        for (backward, (Kept { indices, .. }, _)) in projections.iter().zip(live) {
            sink.accumulate(indices.a, |grad, add| backward.lora_a(update(add), grad).map_err(&kernel))?;
            sink.accumulate(indices.b, |grad, add| backward.lora_b(update(add), grad).map_err(&kernel))?;
            if let Some(index) = indices.lora_bias {
                sink.accumulate(index, |grad, add| backward.lora_bias(update(add), grad).map_err(&kernel))?;
            }
        }
        Ok(())
    })?;
    for (Kept { shape, weight, indices, .. }, grad_y) in live {
        let grad_y = Matrix::new(*grad_y, shape.num_tokens(), shape.out_features()).rounded_to(precision);
        if let Some(index) = indices.weight.filter(|&index| sink.needs(index)) {
            give_weight_gradient(OP, sink, index, weight, grad_y, (x, precision))?;
        }
        if let Some(index) = indices.bias {
            give_bias_gradient(OP, sink, index, grad_y)?;
        }
    }
    Ok(())
}

/// Calls `body` with the matrices `given` and those of `weights`, `None` for integers, which have their own products.
fn with_matrices(
    weights: &[&Weight],
    given: Vec<Option<Matrix<'_>>>,
    body: &mut dyn FnMut(&[Option<Matrix<'_>>]) -> Result<()>,
) -> Result<()> {
    match weights {
        [] => body(&given),
        [Weight::Int8(_), rest @ ..] => with_matrices(rest, [given, vec![None]].concat(), body),
        [first, rest @ ..] => {
            first.with_matrix(|matrix| with_matrices(rest, [given, vec![Some(matrix)]].concat(), body))?
        }
    }
}
