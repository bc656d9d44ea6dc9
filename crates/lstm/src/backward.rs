//! Gradients, from the last step that was read to the first.

use device::math::tanh;
use device::simd::{Isa, Kernel, dispatch};
use device::{Buffer, DType, Device};
use gemm::{Matrix, MatrixMut, Update, gemm};

use crate::shape::{check, row};
use crate::{LstmError, LstmShape};

/// What the forward pass read and wrote.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// As in [`Forward`](crate::Forward).
    pub weight_hh: &'a [f32],
    /// As in [`Forward`](crate::Forward).
    pub h: &'a [f32],
    /// As in [`Forward`](crate::Forward).
    pub gates: &'a [f32],
    /// As in [`Forward`](crate::Forward).
    pub cells: &'a [f32],
}

/// The backward pass of one recurrence.
pub struct Backward<'a> {
    shape: LstmShape,
    saved: Saved<'a>,
    grad_gates: Buffer,
}

impl<'a> Backward<'a> {
    /// Checks the arguments and computes the gradient of the gates. `grad_h` is that of `h`, `[num_steps, hidden_size]`.
    ///
    /// # Errors
    /// [`LstmError::Length`] names an argument that does not have its shape; [`LstmError::Device`] or [`LstmError::Gemm`] if
    /// there is no memory.
    pub fn new(shape: &LstmShape, saved: Saved<'a>, grad_h: &[f32]) -> Result<Self, LstmError> {
        check("weight_hh", shape.weight_hh(), saved.weight_hh.len())?;
        check("h", shape.states(), saved.h.len())?;
        check("gates", shape.gates(), saved.gates.len())?;
        check("cells", shape.states(), saved.cells.len())?;
        check("grad_h", shape.states(), grad_h.len())?;
        let mut grad_gates = Buffer::scratch(Device::Cpu, DType::F32, saved.gates.len())?;
        walk(shape, saved, grad_h, grad_gates.f32_mut()?)?;
        Ok(Self { shape: *shape, saved, grad_gates })
    }

    /// `dW_hh = sum_t dgates_t^T h_prev`, `[4 * hidden_size, hidden_size]`.
    ///
    /// # Errors
    /// As [`Backward::new`].
    pub fn weight_hh(&self, update: Update<'_>, grad_weight: &mut [f32]) -> Result<(), LstmError> {
        let [rows, columns] = self.shape.weight_hh();
        check("grad_weight_hh", [rows, columns], grad_weight.len())?;
        let (steps, before) = self.shape.followers();
        let grad_gates = &self.grad_gates.f32()?[steps.start * rows..steps.end * rows];
        let h = &self.saved.h[before.start * columns..before.end * columns];
        let grad_gates = Matrix::new(grad_gates, steps.len(), rows).transposed();
        let h = Matrix::new(h, before.len(), columns);
        Ok(gemm(1.0, grad_gates, h, update, MatrixMut::new(grad_weight, rows, columns))?)
    }

    /// The gradient of `input_gates`, `[num_steps, 4 * hidden_size]`.
    pub fn into_input_gates(self) -> Buffer {
        self.grad_gates
    }
}

fn walk(shape: &LstmShape, saved: Saved<'_>, grad_h: &[f32], grad_gates: &mut [f32]) -> Result<(), LstmError> {
    let size = shape.hidden_size();
    let weight_hh = Matrix::new(saved.weight_hh, 4 * size, size);
    // What later steps say about the states of this one.
    let (mut later_h, mut later_cell) = (vec![0.0; size], vec![0.0; size]);
    let start = vec![0.0; size];
    for (step, before) in shape.steps().rev() {
        let grad_gates = &mut grad_gates[row(step, 4 * size)];
        dispatch(Step {
            gates: &saved.gates[row(step, 4 * size)],
            cell: &saved.cells[row(step, size)],
            cell_before: before.map_or(&start[..], |before| &saved.cells[row(before, size)]),
            grad_h: &grad_h[row(step, size)],
            later_h: &later_h,
            later_cell: &mut later_cell,
            grad_gates: &mut *grad_gates,
        });
        if before.is_some() {
            let grad_gates = Matrix::new(&*grad_gates, 1, 4 * size);
            gemm(1.0, grad_gates, weight_hh, Update::Overwrite, MatrixMut::new(&mut later_h, 1, size))?;
        }
    }
    Ok(())
}

/// One step: writes the gradient of its gates, and in `later_cell` what it says about the cell before.
struct Step<'a> {
    gates: &'a [f32],
    cell: &'a [f32],
    cell_before: &'a [f32],
    grad_h: &'a [f32],
    later_h: &'a [f32],
    later_cell: &'a mut [f32],
    grad_gates: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let size = self.cell.len();
        let (i, f) = (&self.gates[..size], &self.gates[size..2 * size]);
        let (g, o) = (&self.gates[2 * size..3 * size], &self.gates[3 * size..4 * size]);
        let (di, rest) = self.grad_gates.split_at_mut(size);
        let (df, rest) = rest.split_at_mut(size);
        let (dg, d_o) = rest.split_at_mut(size);
        for k in 0..size {
            let tanh_cell = tanh::<I>(self.cell[k]);
            let dh = self.grad_h[k] + self.later_h[k];
            let dc = I::mul_add(dh * o[k], 1.0 - tanh_cell * tanh_cell, self.later_cell[k]);
            di[k] = dc * g[k] * (i[k] * (1.0 - i[k]));
            df[k] = dc * self.cell_before[k] * (f[k] * (1.0 - f[k]));
            dg[k] = dc * i[k] * (1.0 - g[k] * g[k]);
            d_o[k] = dh * tanh_cell * (o[k] * (1.0 - o[k]));
            self.later_cell[k] = dc * f[k];
        }
    }
}
