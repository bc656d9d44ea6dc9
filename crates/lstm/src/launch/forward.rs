//! Launching the forward pass.

use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::LSTM_FORWARD_F32;
use super::params::{LSTM_FORWARD_UNITS, LSTM_THREADS, LstmForwardParams};
use super::{check_buffer, place};
use crate::{LstmError, LstmShape};

/// Arguments of [`forward`](forward()), all on one device, in f32.
#[derive(Debug)]
pub struct Forward<'a> {
    /// `x W_ih^T + b_ih + b_hh`, `[num_steps, 4 * hidden_size]`.
    pub input_gates: &'a DeviceBuffer,
    /// `[4 * hidden_size, hidden_size]`.
    pub weight_hh: &'a DeviceBuffer,
    /// `[num_steps, hidden_size]`, overwritten.
    pub h: &'a mut DeviceBuffer,
    /// The gates after sigmoid and tanh, `[num_steps, 4 * hidden_size]`, overwritten: kept for [`super::Backward`].
    pub gates: &'a mut DeviceBuffer,
    /// `[num_steps, hidden_size]`, overwritten: kept for [`super::Backward`].
    pub cells: &'a mut DeviceBuffer,
}

/// Computes the states of every step.
///
/// # Errors
/// [`LstmError::Length`] names an argument that does not have its shape; [`LstmError::Device`] for buffers of different devices
/// and for what a launch refuses.
pub fn forward(shape: &LstmShape, arguments: Forward<'_>) -> Result<(), LstmError> {
    let Forward { input_gates, weight_hh, h, gates, cells } = arguments;
    check_buffer("input_gates", shape.gates(), input_gates)?;
    check_buffer("weight_hh", shape.weight_hh(), weight_hh)?;
    check_buffer("h", shape.states(), h)?;
    check_buffer("gates", shape.gates(), gates)?;
    check_buffer("cells", shape.states(), cells)?;
    let executor = Executor::of(input_gates, [weight_hh, &*h, &*gates, &*cells])?;
    let hidden = shape.hidden_size();
    // The weight, and of a step its gates before and after, and both states before and after.
    let step_bytes = (4 + 4 + 2 + 2) * hidden * size_of::<f32>();
    let work = Work::product([1, 4 * hidden, hidden]) + Work::over([weight_hh]) + Work::bytes(step_bytes);
    let grid = Grid::covering(hidden, LSTM_FORWARD_UNITS, LSTM_THREADS).doing(work);
    for (step, before) in shape.steps() {
        let params = LstmForwardParams {
            input_gates: input_gates.address(),
            weight_hh: weight_hh.address(),
            h: h.address(),
            gates: gates.address(),
            cells: cells.address(),
            hidden: shape.hidden_size() as u64,
            step: step as u64,
            before: place(before),
        };
        // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, whose steps these are; what
        // is written is borrowed mutably, and launches run one after another.
        unsafe { executor.launch(&LSTM_FORWARD_F32, grid, &params)? };
    }
    Ok(())
}
