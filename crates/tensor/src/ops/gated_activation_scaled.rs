//! `y = act(gate) * up * l`: SwiGLU or GeGLU with a learned factor for each channel, (IA)^3 of the projection behind it.
//!
//! dgate = dy l up act'(gate)      dup = dy l act(gate)      `dl[c] = sum over t of (dy act(gate) up)[t, c]`
//!
//! gate and up are saved; y is computed again from them for those that need it, and what l multiplies is never stored.

use device::{Buffer, DType, Device};
use transformer::gated::{GateUp, GateUpMut, Shape};
use transformer::gated_scaled::{Backward, backward, forward};
use transformer::launch::{gated::GateUp as DeviceGateUp, gated_scaled as kernel};
use transformer::{Activation, Gradient};

use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "gated_activation_scaled";

/// Multiplies `up` by the activation of `gate`, both `[num_tokens, features]`, and the channels by `ia3_l`, `features` elements
/// in any shape.
///
/// # Errors
/// [`TensorError::Shape`] if the shapes do not fit; [`TensorError::DType`] unless all are f32 on the CPU.
pub fn gated_activation_scaled(gate: &Tensor, up: &Tensor, ia3_l: &Tensor, function: Activation) -> Result<Tensor> {
    let (rows, features) = gate.matrix_shape(OP, "gate")?;
    if gate.shape() != up.shape() {
        return Err(up.unexpected(OP, "up", format!("{:?}", gate.shape())));
    }
    scaled(Shape { rows, features }, &[gate, up], ia3_l, function)
}

/// The same of one tensor `[num_tokens, 2 * features]`: in every row the gate, then up (Phi-3's `gate_up_proj`).
///
/// # Errors
/// As [`gated_activation_scaled`]; [`TensorError::Shape`] also if the last size is odd.
pub fn gated_activation_fused_scaled(gate_up: &Tensor, ia3_l: &Tensor, function: Activation) -> Result<Tensor> {
    let (rows, both) = gate_up.matrix_shape(OP, "gate_up")?;
    if !both.is_multiple_of(2) {
        return Err(gate_up.unexpected(OP, "gate_up", "[num_tokens, 2 * features]"));
    }
    scaled(Shape { rows, features: both / 2 }, &[gate_up], ia3_l, function)
}

/// `inputs` are the gate and up, or one tensor with both.
fn scaled(shape: Shape, inputs: &[&Tensor], ia3_l: &Tensor, function: Activation) -> Result<Tensor> {
    if ia3_l.count() != shape.features {
        return Err(ia3_l.unexpected(OP, "ia3_l", format!("{} elements", shape.features)));
    }
    let size = [shape.rows, shape.features];
    let y = product(shape, inputs, ia3_l, function)?;
    let saved = inputs.iter().map(|x| Saved::new(x)).collect::<Result<Vec<_>>>()?;
    let (again, factors, factors_again) = (saved.clone(), ia3_l.detach(), ia3_l.detach());
    let parents: Vec<_> = inputs.iter().copied().chain([ia3_l]).collect();
    let y = Tensor::record(OP, size, y, &parents, move |grad_y, sink| {
        let inputs = saved.iter().map(Saved::stored).collect::<Result<Vec<_>>>()?;
        let (gradients, grad_l) = gradients(shape, &inputs, &factors, &grad_y, function)?;
        let count = gradients.len();
        gradients.into_iter().enumerate().try_for_each(|(index, gradient)| sink.give(index, gradient))?;
        sink.give(count, grad_l)
    })?;
    Ok(y.with_recipe(move || {
        let inputs = again.iter().map(Saved::stored).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<_> = inputs.iter().collect();
        Tensor::new(size, product(shape, &inputs, &factors_again, function)?)
    }))
}

fn product(shape: Shape, inputs: &[&Tensor], ia3_l: &Tensor, function: Activation) -> Result<Buffer> {
    let (device, dtype) = (inputs[0].device(), inputs[0].compute_dtype());
    let mut y = Buffer::scratch(device, dtype, shape.rows * shape.features)?;
    match device {
        Device::Cpu => {
            let (reads, factors) = (inputs.iter().map(|x| x.read()).collect::<Vec<_>>(), ia3_l.read());
            let values = reads.iter().map(|read| read.on_cpu(OP)).collect::<Result<Vec<_>>>()?;
            let gate_up = match values[..] {
                [gate, up] => GateUp::Separate { gate, up },
                _ => GateUp::Fused(values[0]),
            };
            forward(shape, function, gate_up, factors.f32(OP, "ia3_l")?, y.f32_mut()?)
        }
        _ => {
            let memory = inputs.iter().map(|x| x.on_device(OP, "gate_up", dtype)).collect::<Result<Vec<_>>>()?;
            let gate_up = match &memory[..] {
                [gate, up] => DeviceGateUp::Separate { gate, up },
                both => DeviceGateUp::Fused(&both[0]),
            };
            let factors = ia3_l.on_device(OP, "ia3_l", DType::F32)?;
            kernel::forward(shape, dtype, function, gate_up, &factors, y.memory_mut()?)
        }
    }
    .map_err(TensorError::kernel(OP))?;
    Ok(y)
}

/// The gradients of the inputs and of the factors.
fn gradients(
    shape: Shape,
    inputs: &[Tensor],
    ia3_l: &Tensor,
    grad_y: &Buffer,
    function: Activation,
) -> Result<(Vec<Buffer>, Buffer)> {
    let (device, dtype) = (grad_y.device(), grad_y.dtype());
    let scratch = |x: &Tensor| Ok(Buffer::scratch(device, dtype, x.count())?);
    let mut gradients = inputs.iter().map(scratch).collect::<Result<Vec<_>>>()?;
    let mut grad_l = Buffer::scratch(device, DType::F32, shape.features)?;
    match device {
        Device::Cpu => {
            let (reads, factors) = (inputs.iter().map(Tensor::read).collect::<Vec<_>>(), ia3_l.read());
            let values = reads.iter().map(|read| read.on_cpu(OP)).collect::<Result<Vec<_>>>()?;
            let (gate_up, gradient) = match (&values[..], &mut gradients[..]) {
                (&[gate, up], [dgate, dup]) => (
                    GateUp::Separate { gate, up },
                    GateUpMut::Separate { dgate: dgate.f32_mut()?, dup: dup.f32_mut()? },
                ),
                (values, gradients) => (GateUp::Fused(values[0]), GateUpMut::Fused(gradients[0].f32_mut()?)),
            };
            let dscale = Gradient::overwrite(grad_l.f32_mut()?);
            let (scale, dy) = (factors.f32(OP, "ia3_l")?, grad_y.f32()?);
            backward(shape, function, Backward { gate_up, scale, dy, gradient, dscale })
        }
        _ => {
            let memory = inputs.iter().map(|x| x.on_device(OP, "gate_up", dtype)).collect::<Result<Vec<_>>>()?;
            let (gate_up, gradient) = match (&memory[..], &mut gradients[..]) {
                ([gate, up], [dgate, dup]) => (
                    DeviceGateUp::Separate { gate, up },
                    DeviceGateUp::Separate { gate: dgate.memory_mut()?, up: dup.memory_mut()? },
                ),
                (both, gradients) => (DeviceGateUp::Fused(&both[0]), DeviceGateUp::Fused(gradients[0].memory_mut()?)),
            };
            let (scale, dy) = (ia3_l.on_device(OP, "ia3_l", DType::F32)?, grad_y.memory()?);
            let dscale = transformer::launch::Gradient::overwrite(grad_l.memory_mut()?);
            kernel::backward(shape, function, kernel::Backward { dtype, gate_up, scale: &scale, dy, gradient, dscale })
        }
    }
    .map_err(TensorError::kernel(OP))?;
    Ok((gradients, grad_l))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::ops;

    #[test]
    fn gradients() {
        let inputs = [values([3, 4], 1), values([3, 4], 2), values([4], 3)];
        let worst = gradcheck(&inputs, |x| gated_activation_scaled(&x[0], &x[1], &x[2], Activation::Silu)).unwrap();
        // The difference quotient's own error.
        assert!(worst <= 1e-3, "{worst}");
        let fused = [values([3, 8], 1), values([1, 4], 3)];
        let worst = gradcheck(&fused, |x| gated_activation_fused_scaled(&x[0], &x[1], Activation::GeluTanh)).unwrap();
        assert!(worst <= 1e-3, "{worst}");
    }

    #[test]
    fn it_is_the_gated_activation_and_then_the_factors() {
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        let (gate, up, l) = (tensor(values([5, 7], 1)), tensor(values([5, 7], 2)), tensor(values([7], 3)));
        let apart = ops::ia3_scale(&ops::gated_activation(&gate, &up, Activation::Silu).unwrap(), &l).unwrap();
        let together = gated_activation_scaled(&gate, &up, &l, Activation::Silu).unwrap();
        assert_eq!(together.to_vec(), apart.to_vec());
    }

    #[test]
    fn shapes_are_checked() {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let (x, l) = (tensor(&[2, 4]), tensor(&[2]));
        let message = gated_activation_scaled(&x, &x, &l, Activation::Silu).unwrap_err().to_string();
        assert_eq!(message, "gated_activation_scaled: `ia3_l` has shape [2], expected 4 elements");
        assert!(gated_activation_fused_scaled(&tensor(&[2, 3]), &l, Activation::Silu).is_err());
    }
}
