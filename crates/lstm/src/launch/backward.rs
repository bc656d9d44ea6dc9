//! Launching the gradients.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};
use gemm::launch::{Matrix, MatrixMut, Update, gemm};

use super::kernels::LSTM_BACKWARD_F32;
use super::params::{LSTM_BACKWARD_SHARED_BYTES, LSTM_BACKWARD_UNITS, LSTM_THREADS, LstmBackwardParams};
use super::{check_buffer, place};
use crate::{LstmError, LstmShape};

/// What the forward pass read and wrote.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// As in [`Forward`](super::Forward).
    pub weight_hh: &'a DeviceBuffer,
    /// As in [`Forward`](super::Forward).
    pub h: &'a DeviceBuffer,
    /// As in [`Forward`](super::Forward).
    pub gates: &'a DeviceBuffer,
    /// As in [`Forward`](super::Forward).
    pub cells: &'a DeviceBuffer,
}

/// The backward pass of one recurrence.
#[derive(Debug)]
pub struct Backward<'a> {
    shape: LstmShape,
    h: &'a DeviceBuffer,
    grad_gates: DeviceBuffer,
}

impl<'a> Backward<'a> {
    /// Checks the arguments and computes the gradient of the gates. `grad_h` is that of `h`, `[num_steps, hidden_size]`.
    ///
    /// # Errors
    /// [`LstmError::Length`] names an argument that does not have its shape; [`LstmError::Device`] for buffers of different
    /// devices, without memory, and for what a launch refuses.
    pub fn new(shape: &LstmShape, saved: Saved<'a>, grad_h: &DeviceBuffer) -> Result<Self, LstmError> {
        let Saved { weight_hh, h, gates, cells } = saved;
        check_buffer("weight_hh", shape.weight_hh(), weight_hh)?;
        check_buffer("h", shape.states(), h)?;
        check_buffer("gates", shape.gates(), gates)?;
        check_buffer("cells", shape.states(), cells)?;
        check_buffer("grad_h", shape.states(), grad_h)?;
        let executor = Executor::of(weight_hh, [h, gates, cells, grad_h])?;
        let grad_gates = executor.allocate(gates.len_bytes())?;
        let later_cell = executor.allocate(shape.hidden_size() * size_of::<f32>())?;
        let hidden = shape.hidden_size();
        // The weight, and of a step its gates and the gradients of two steps' gates, cells, states and what passes between steps.
        let step_bytes = (4 + 4 + 4 + 2 + 1 + 2) * hidden * size_of::<f32>();
        let work = Work::product([1, hidden, 4 * hidden]) + Work::over([weight_hh]) + Work::bytes(step_bytes);
        let grid = Grid::covering(hidden, LSTM_BACKWARD_UNITS, LSTM_THREADS)
            .with_shared(LSTM_BACKWARD_SHARED_BYTES)
            .doing(work);
        let mut after = None;
        for (step, before) in shape.steps().rev() {
            let params = LstmBackwardParams {
                weight_hh: weight_hh.address(),
                gates: gates.address(),
                cells: cells.address(),
                grad_h: grad_h.address(),
                grad_gates: grad_gates.address(),
                later_cell: later_cell.address(),
                hidden: shape.hidden_size() as u64,
                step: step as u64,
                before: place(before),
                after: place(after.replace(step)),
            };
            // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, whose steps these are;
            // what is written was just made, and launches run one after another.
            unsafe { executor.launch(&LSTM_BACKWARD_F32, grid, &params)? };
        }
        Ok(Self { shape: *shape, h, grad_gates })
    }

    /// `dW_hh = sum_t dgates_t^T h_prev`, `[4 * hidden_size, hidden_size]`: over what `grad_weight` holds, or added to it if
    /// `add`.
    ///
    /// # Errors
    /// As [`Backward::new`]; [`LstmError::Gemm`] for what a product refuses.
    pub fn weight_hh(&self, add: bool, grad_weight: &mut DeviceBuffer) -> Result<(), LstmError> {
        let [rows, columns] = self.shape.weight_hh();
        check_buffer("grad_weight_hh", [rows, columns], grad_weight)?;
        let (steps, before) = self.shape.followers();
        let grad_gates = rows_of(&self.grad_gates, steps.clone(), rows);
        let h = rows_of(self.h, before.clone(), columns);
        let update = if add { Update::Accumulate } else { Update::Overwrite };
        let grad_gates = Matrix::new(&grad_gates, DType::F32, steps.len(), rows).transposed();
        let h = Matrix::new(&h, DType::F32, before.len(), columns);
        Ok(gemm(1.0, grad_gates, h, update, MatrixMut::new(grad_weight, DType::F32, rows, columns))?)
    }

    /// The gradient of `input_gates`, `[num_steps, 4 * hidden_size]`.
    pub fn into_input_gates(self) -> DeviceBuffer {
        self.grad_gates
    }
}

/// The `rows` of a matrix with rows of `len` f32.
fn rows_of(buffer: &DeviceBuffer, rows: std::ops::Range<usize>, len: usize) -> DeviceBuffer {
    let row_bytes = len * size_of::<f32>();
    buffer.view(rows.start * row_bytes..rows.end * row_bytes)
}
