//! `y = [a b]`: matrices side by side.
//!
//! da, db = the columns of dy that they became

use std::ops::Range;

use device::{Buffer, DType, Device};
use transformer::columns::{Shape, gather, scatter_add};
use transformer::launch::columns::{self as kernel, Blocks};

use crate::{Result, Tensor, TensorError};

const OP: &str = "concat_columns";

/// Puts `a`, `[rows, m]`, and `b`, `[rows, n]`, side by side: `[rows, m + n]`.
///
/// # Errors
/// [`TensorError::Shape`] if they have not as many rows; [`TensorError::DType`] unless they are f32 on the CPU.
pub fn concat_columns(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((rows, left), (b_rows, right)) = (a.matrix_shape(OP, "a")?, b.matrix_shape(OP, "b")?);
    if rows != b_rows {
        return Err(b.unexpected(OP, "b", format!("[{rows}, columns]")));
    }
    let shape = Shape { rows, columns: left + right };
    let parts: [Range<usize>; 2] = [0..left, left..left + right];
    if a.device() != Device::Cpu {
        return on_device(shape, [a, b], parts);
    }
    let mut y = Buffer::zeroed(a.device(), DType::F32, rows * shape.columns)?;
    for (x, part) in [a, b].into_iter().zip(&parts) {
        let x = x.read();
        scatter_add(shape, x.f32(OP, "x")?, std::slice::from_ref(part), y.f32_mut()?)
            .map_err(TensorError::kernel(OP))?;
    }
    Tensor::record(OP, [rows, shape.columns], y, &[a, b], move |grad_y, sink| {
        for (index, part) in parts.iter().enumerate() {
            if sink.needs(index) {
                let mut grad = Buffer::scratch(Device::Cpu, DType::F32, rows * part.len())?;
                gather(shape, grad_y.f32()?, std::slice::from_ref(part), grad.f32_mut()?)
                    .map_err(TensorError::kernel(OP))?;
                sink.give(index, grad)?;
            }
        }
        Ok(())
    })
}

/// The same as kernels, in the type of the first.
fn on_device(shape: Shape, parents: [&Tensor; 2], parts: [Range<usize>; 2]) -> Result<Tensor> {
    let (dtype, device) = (parents[0].dtype(), parents[0].device());
    let mut y = Buffer::scratch(device, dtype, shape.rows * shape.columns)?;
    for ((x, part), argument) in parents.into_iter().zip(&parts).zip(["a", "b"]) {
        let x = x.on_device(OP, argument, dtype)?;
        kernel::scatter(shape, dtype, &x, Blocks::one(part.clone()), y.memory_mut()?)
            .map_err(TensorError::kernel(OP))?;
    }
    Tensor::record(OP, [shape.rows, shape.columns], y, &parents, move |grad_y, sink| {
        for (index, part) in parts.into_iter().enumerate() {
            if sink.needs(index) {
                let mut grad = Buffer::scratch(device, dtype, shape.rows * part.len())?;
                kernel::gather(shape, dtype, grad_y.memory()?, Blocks::one(part), grad.memory_mut()?)
                    .map_err(TensorError::kernel(OP))?;
                sink.give(index, grad)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([3, 2], 1), values([3, 4], 2)], |x| concat_columns(&x[0], &x[1])).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn rows_must_agree() {
        let tensor = |rows: usize, values: &[f32]| Tensor::from_f32([rows, values.len() / rows], values).unwrap();
        let y = concat_columns(&tensor(2, &[1.0, 2.0]), &tensor(2, &[3.0, 4.0, 5.0, 6.0])).unwrap();
        assert_eq!(y.to_vec(), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        assert!(concat_columns(&tensor(2, &[1.0, 2.0]), &tensor(1, &[3.0])).is_err());
    }
}
