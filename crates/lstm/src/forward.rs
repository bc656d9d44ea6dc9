//! States, step after step.

use device::math::{sigmoid, tanh};
use device::simd::{Isa, Kernel, dispatch};
use gemm::{Matrix, MatrixMut, Update, gemm};

use crate::shape::{check, row};
use crate::{LstmError, LstmShape};

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `x W_ih^T + b_ih + b_hh`, `[num_steps, 4 * hidden_size]`.
    pub input_gates: &'a [f32],
    /// `[4 * hidden_size, hidden_size]`.
    pub weight_hh: &'a [f32],
    /// `[num_steps, hidden_size]`, overwritten.
    pub h: &'a mut [f32],
    /// The gates after sigmoid and tanh, `[num_steps, 4 * hidden_size]`, overwritten: kept for [`crate::Backward`].
    pub gates: &'a mut [f32],
    /// `[num_steps, hidden_size]`, overwritten: kept for [`crate::Backward`].
    pub cells: &'a mut [f32],
}

/// Computes the states of every step.
///
/// # Errors
/// [`LstmError::Length`] names an argument that does not have its shape; [`LstmError::Gemm`] if there is no memory.
pub fn forward(shape: &LstmShape, arguments: Forward<'_>) -> Result<(), LstmError> {
    let Forward { input_gates, weight_hh, h, gates, cells } = arguments;
    check("input_gates", shape.gates(), input_gates.len())?;
    check("weight_hh", shape.weight_hh(), weight_hh.len())?;
    check("h", shape.states(), h.len())?;
    check("gates", shape.gates(), gates.len())?;
    check("cells", shape.states(), cells.len())?;
    let size = shape.hidden_size();
    let [gate_rows, gate_columns] = shape.weight_hh();
    let weight_hh = Matrix::new(weight_hh, gate_rows, gate_columns).transposed();
    gates.copy_from_slice(input_gates);
    let mut cell = vec![0.0; size];
    for (step, before) in shape.steps() {
        let gates = &mut gates[row(step, 4 * size)];
        if let Some(before) = before {
            let h = Matrix::new(&h[row(before, size)], 1, size);
            gemm(1.0, h, weight_hh, Update::Accumulate, MatrixMut::new(&mut *gates, 1, 4 * size))?;
        }
        dispatch(Step { gates, cell: &mut cell, h: &mut h[row(step, size)] });
        cells[row(step, size)].copy_from_slice(&cell);
    }
    Ok(())
}

/// One step: `gates` from before to after their functions, `cell` from the last step's to this one's.
struct Step<'a> {
    gates: &'a mut [f32],
    cell: &'a mut [f32],
    h: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let size = self.cell.len();
        let (i, rest) = self.gates.split_at_mut(size);
        let (f, rest) = rest.split_at_mut(size);
        let (g, o) = rest.split_at_mut(size);
        for k in 0..size {
            i[k] = sigmoid::<I>(i[k]).0;
            f[k] = sigmoid::<I>(f[k]).0;
            g[k] = tanh::<I>(g[k]);
            o[k] = sigmoid::<I>(o[k]).0;
            self.cell[k] = I::mul_add(f[k], self.cell[k], i[k] * g[k]);
            self.h[k] = o[k] * tanh::<I>(self.cell[k]);
        }
    }
}
