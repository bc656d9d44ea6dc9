//! `y = act(gate) * up`: SwiGLU with silu, GeGLU with gelu.
//!
//! dgate = dy up act'(gate)      dup = dy act(gate)
//!
//! gate and up are saved; y is computed again from them for those that need it.

use device::{Buffer, Device};
use transformer::Activation;
use transformer::gated::{Backward, GateUp, GateUpMut, Shape, backward, forward};
use transformer::launch::gated as kernel;

use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "gated_activation";

/// Multiplies `up` by the activation of `gate`, both `[num_tokens, features]`.
///
/// # Errors
/// [`TensorError::Shape`] if the shapes differ or are no matrices; [`TensorError::DType`] unless both are f32.
pub fn gated_activation(gate: &Tensor, up: &Tensor, function: Activation) -> Result<Tensor> {
    let (rows, features) = gate.matrix_shape(OP, "gate")?;
    if gate.shape() != up.shape() {
        return Err(up.unexpected(OP, "up", format!("{:?}", gate.shape())));
    }
    let shape = Shape { rows, features };
    let dtype = gate.compute_dtype();
    let y = gated(shape, gate, up, function)?;
    let saved = (Saved::new(gate)?, Saved::new(up)?);
    let again = saved.clone();
    let y = Tensor::record(OP, gate.shape(), y, &[gate, up], move |grad_y, sink| {
        let saved = (saved.0.stored()?, saved.1.stored()?);
        let scratch = || Buffer::scratch(saved.0.device(), dtype, saved.0.count());
        let (mut dgate, mut dup) = (scratch()?, scratch()?);
        match saved.0.device() {
            Device::Cpu => {
                let (gate, up) = (saved.0.read(), saved.1.read());
                let gate_up = GateUp::Separate { gate: gate.on_cpu(OP)?, up: up.on_cpu(OP)? };
                let gradient = GateUpMut::Separate { dgate: dgate.f32_mut()?, dup: dup.f32_mut()? };
                backward(shape, function, Backward { gate_up, dy: grad_y.f32()?, gradient })
            }
            _ => {
                let (gate, up) = (saved.0.on_device(OP, "gate", dtype)?, saved.1.on_device(OP, "up", dtype)?);
                let gate_up = kernel::GateUp::Separate { gate: &gate, up: &up };
                let gradient = kernel::GateUp::Separate { gate: dgate.memory_mut()?, up: dup.memory_mut()? };
                kernel::backward(shape, function, kernel::Backward { dtype, gate_up, dy: grad_y.memory()?, gradient })
            }
        }
        .map_err(TensorError::kernel(OP))?;
        sink.give(0, dgate)?;
        sink.give(1, dup)
    })?;
    Ok(y.with_recipe(move || {
        Tensor::new([rows, features], gated(shape, &again.0.stored()?, &again.1.stored()?, function)?)
    }))
}

fn gated(shape: Shape, gate: &Tensor, up: &Tensor, function: Activation) -> Result<Buffer> {
    let dtype = gate.compute_dtype();
    let mut y = Buffer::scratch(gate.device(), dtype, gate.count())?;
    match gate.device() {
        Device::Cpu => {
            let (gate, up) = (gate.read(), up.read());
            let gate_up = GateUp::Separate { gate: gate.on_cpu(OP)?, up: up.on_cpu(OP)? };
            forward(shape, function, gate_up, y.f32_mut()?)
        }
        _ => {
            let (gate, up) = (gate.on_device(OP, "gate", dtype)?, up.on_device(OP, "up", dtype)?);
            let gate_up = kernel::GateUp::Separate { gate: &gate, up: &up };
            kernel::forward(shape, dtype, function, gate_up, y.memory_mut()?)
        }
    }
    .map_err(TensorError::kernel(OP))?;
    Ok(y)
}

/// The same of one tensor `[num_tokens, 2 * features]`: in every row the gate, then up (Phi-3's `gate_up_proj`).
///
/// # Errors
/// [`TensorError::Shape`] if the last size is odd; [`TensorError::DType`] unless it is f32.
pub fn gated_activation_fused(gate_up: &Tensor, function: Activation) -> Result<Tensor> {
    let (rows, both) = gate_up.matrix_shape(OP, "gate_up")?;
    if !both.is_multiple_of(2) {
        return Err(gate_up.unexpected(OP, "gate_up", "[num_tokens, 2 * features]"));
    }
    let shape = Shape { rows, features: both / 2 };
    let dtype = gate_up.compute_dtype();
    let y = gated_fused(shape, gate_up, function)?;
    let saved = Saved::new(gate_up)?;
    let again = saved.clone();
    let y = Tensor::record(OP, [rows, shape.features], y, &[gate_up], move |grad_y, sink| {
        let saved = saved.stored()?;
        let mut gradient = Buffer::scratch(saved.device(), dtype, saved.count())?;
        match saved.device() {
            Device::Cpu => {
                let halves = saved.read();
                let gate_up = GateUp::Fused(halves.on_cpu(OP)?);
                let gradient = GateUpMut::Fused(gradient.f32_mut()?);
                backward(shape, function, Backward { gate_up, dy: grad_y.f32()?, gradient })
            }
            _ => {
                let halves = saved.on_device(OP, "gate_up", dtype)?;
                let gate_up = kernel::GateUp::Fused(&halves);
                let gradient = kernel::GateUp::Fused(gradient.memory_mut()?);
                kernel::backward(shape, function, kernel::Backward { dtype, gate_up, dy: grad_y.memory()?, gradient })
            }
        }
        .map_err(TensorError::kernel(OP))?;
        sink.give(0, gradient)
    })?;
    Ok(y.with_recipe(move || Tensor::new([rows, shape.features], gated_fused(shape, &again.stored()?, function)?)))
}

fn gated_fused(shape: Shape, gate_up: &Tensor, function: Activation) -> Result<Buffer> {
    let dtype = gate_up.compute_dtype();
    let mut y = Buffer::scratch(gate_up.device(), dtype, shape.rows * shape.features)?;
    match gate_up.device() {
        Device::Cpu => {
            let halves = gate_up.read();
            forward(shape, function, GateUp::Fused(halves.on_cpu(OP)?), y.f32_mut()?)
        }
        _ => {
            let halves = gate_up.on_device(OP, "gate_up", dtype)?;
            kernel::forward(shape, dtype, function, kernel::GateUp::Fused(&halves), y.memory_mut()?)
        }
    }
    .map_err(TensorError::kernel(OP))?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let inputs = [values([3, 4], 1), values([3, 4], 2)];
        let worst = gradcheck(&inputs, |x| gated_activation(&x[0], &x[1], Activation::Silu)).unwrap();
        // The difference quotient's own error.
        assert!(worst <= 1e-3, "{worst}");
        let fused = [values([3, 8], 1)];
        let worst = gradcheck(&fused, |x| gated_activation_fused(&x[0], Activation::GeluTanh)).unwrap();
        assert!(worst <= 1e-3, "{worst}");
    }

    #[test]
    fn fused_is_separate_side_by_side() {
        let [gate, up] = [[1.0, -2.0, 0.5, 3.0], [2.0, 4.0, -1.0, 0.25]];
        let both = [1.0, -2.0, 2.0, 4.0, 0.5, 3.0, -1.0, 0.25];
        let [gate, up] = [gate, up].map(|v| Tensor::from_f32([2, 2], &v).unwrap());
        let both = Tensor::from_f32([2, 4], &both).unwrap();
        let separate = gated_activation(&gate, &up, Activation::Gelu).unwrap().to_vec();
        assert_eq!(gated_activation_fused(&both, Activation::Gelu).unwrap().to_vec(), separate);
        let odd = Tensor::from_f32([1, 3], &[0.0; 3]).unwrap();
        assert!(matches!(gated_activation_fused(&odd, Activation::Gelu), Err(TensorError::Shape { .. })));
        assert!(matches!(gated_activation(&gate, &both, Activation::Gelu), Err(TensorError::Shape { .. })));
    }
}
