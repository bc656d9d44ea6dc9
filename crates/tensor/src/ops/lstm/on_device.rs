//! The recurrence as kernels.

use device::{Buffer, DType};
use lstm::LstmShape;
use lstm::launch::{Backward, Forward, Saved, forward};

use super::OP;
use crate::{Result, Tensor, TensorError};

/// As [`super::lstm`], all of it in f32.
pub(super) fn lstm(shape: LstmShape, input_gates: &Tensor, weight_hh: &Tensor) -> Result<Tensor> {
    let (steps, gate_columns) = input_gates.matrix_shape(OP, "input_gates")?;
    let hidden_size = gate_columns / 4;
    let scratch = |columns| Buffer::scratch(input_gates.device(), DType::F32, steps * columns);
    let (mut h, mut gates, mut cells) = (scratch(hidden_size)?, scratch(gate_columns)?, scratch(hidden_size)?);
    let weight = weight_hh.on_device(OP, "weight_hh", DType::F32)?;
    let args = Forward {
        input_gates: &input_gates.on_device(OP, "input_gates", DType::F32)?,
        weight_hh: &weight,
        h: h.memory_mut()?,
        gates: gates.memory_mut()?,
        cells: cells.memory_mut()?,
    };
    forward(&shape, args).map_err(TensorError::kernel(OP))?;
    let h = Tensor::new([steps, hidden_size], h)?;
    let saved_h = h.on_device(OP, "h", DType::F32)?;
    Ok(Tensor::record_output(OP, &h, &[input_gates, weight_hh], move |grad_h, sink| {
        let saved = Saved { weight_hh: &weight, h: &saved_h, gates: gates.memory()?, cells: cells.memory()? };
        let kernel = TensorError::kernel(OP);
        let backward = Backward::new(&shape, saved, grad_h.memory()?).map_err(&kernel)?;
        sink.accumulate_on(1, DType::F32, |grad, add| backward.weight_hh(add, grad).map_err(&kernel))?;
        sink.give(0, Buffer::on_device(backward.into_input_gates(), DType::F32)?)
    }))
}
