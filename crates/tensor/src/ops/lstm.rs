//! One direction of a long short-term memory over one sequence.
//!
//! `[i f g o] = input_gates_t + h_prev W_hh^T`, i, f and o through sigmoid, g through tanh
//! `c_t = f c_prev + i g`      `h_t = o tanh(c_t)`
//!
//! The gradients are in the documentation of the kernel crate. Gates after their functions, cells and states are saved.

mod on_device;

use device::{Buffer, DType, Device};
use lstm::{Backward, Forward, LstmShape, Saved, forward};

use super::linear::update;
use crate::{Result, Tensor, TensorError};

const OP: &str = "lstm";

/// The states `h`, `[num_steps, hidden_size]`, for `input_gates = x W_ih^T + b_ih + b_hh`, `[num_steps, 4 * hidden_size]`, and
/// `weight_hh`, `[4 * hidden_size, hidden_size]`: `torch.nn.LSTM` with one layer and one direction, which starts at the last
/// step if `reverse`.
///
/// # Errors
/// [`TensorError::Shape`] if the shapes do not belong together, [`TensorError::DType`] unless both are f32 on the CPU.
pub fn lstm(input_gates: &Tensor, weight_hh: &Tensor, reverse: bool) -> Result<Tensor> {
    let (gates, hidden_size) = weight_hh.matrix_shape(OP, "weight_hh")?;
    if gates != 4 * hidden_size {
        return Err(weight_hh.unexpected(OP, "weight_hh", format!("[{}, {hidden_size}]", 4 * hidden_size)));
    }
    let (steps, columns) = input_gates.matrix_shape(OP, "input_gates")?;
    if columns != gates {
        return Err(input_gates.unexpected(OP, "input_gates", format!("[num_steps, {gates}]")));
    }
    let shape = LstmShape::new(steps, hidden_size, reverse).map_err(TensorError::kernel(OP))?;
    if input_gates.device() != Device::Cpu {
        return on_device::lstm(shape, input_gates, weight_hh);
    }
    let scratch = |columns| Buffer::scratch(input_gates.device(), DType::F32, steps * columns);
    let (mut h, mut gates, mut cells) = (scratch(hidden_size)?, scratch(gates)?, scratch(hidden_size)?);
    {
        let (input_gates, weight_hh) = (input_gates.read(), weight_hh.read());
        let (input_gates, weight_hh) = (input_gates.f32(OP, "input_gates")?, weight_hh.f32(OP, "weight_hh")?);
        let (h, gates, cells) = (h.f32_mut()?, gates.f32_mut()?, cells.f32_mut()?);
        forward(&shape, Forward { input_gates, weight_hh, h, gates, cells }).map_err(TensorError::kernel(OP))?;
    }
    let h = Tensor::new([steps, hidden_size], h)?;
    let (saved_h, saved_weight) = (h.clone(), weight_hh.detach());
    Ok(Tensor::record_output(OP, &h, &[input_gates, weight_hh], move |grad_h, sink| {
        let (h, weight_hh) = (saved_h.read(), saved_weight.read());
        let (h, weight_hh) = (h.f32(OP, "h")?, weight_hh.f32(OP, "weight_hh")?);
        let saved = Saved { weight_hh, h, gates: gates.f32()?, cells: cells.f32()? };
        let kernel = TensorError::kernel(OP);
        let backward = Backward::new(&shape, saved, grad_h.f32()?).map_err(&kernel)?;
        sink.accumulate(1, |grad, add| backward.weight_hh(update(add), grad).map_err(&kernel))?;
        sink.give(0, backward.into_input_gates())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        for reverse in [false, true] {
            let worst = gradcheck(&[values([5, 12], 1), values([12, 3], 2)], |x| lstm(&x[0], &x[1], reverse)).unwrap();
            // Smooth: the error of the central difference.
            assert!(worst <= 1e-3, "{worst}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let message =
            |gates: &[usize], weight: &[usize]| lstm(&tensor(gates), &tensor(weight), false).unwrap_err().to_string();
        assert_eq!(message(&[2, 12], &[12, 4]), "lstm: `weight_hh` has shape [12, 4], expected [16, 4]");
        assert_eq!(message(&[2, 8], &[12, 3]), "lstm: `input_gates` has shape [2, 8], expected [num_steps, 12]");
    }
}
