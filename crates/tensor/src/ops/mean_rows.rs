//! `y[s] = mean of x[i] over the rows i of sequence s`: mean pooling.
//!
//! `dx[i] = dy[s] / len(s)`

use std::sync::Arc;

use device::{Buffer, Device};
use transformer::Gradient;
use transformer::launch::{self, Starts, mean_rows as kernel};
use transformer::mean_rows::{Shape, backward, forward};

use crate::{Result, Sequences, Tensor, TensorError};

const OP: &str = "mean_rows";

/// The mean row of each of the `sequences` of `x`, `[num_rows, width]`: `[num_sequences, width]`. A sequence without rows
/// has zeros. Rows are added in their order, in f32.
///
/// # Errors
/// [`TensorError::Shape`] if `x` does not hold the sequences; [`TensorError::DType`] unless it is f32 on the CPU.
pub fn mean_rows(x: &Tensor, sequences: &Arc<Sequences>) -> Result<Tensor> {
    let (num_rows, width) = x.matrix_shape(OP, "x")?;
    let shape = Shape { width, cu_seqlens: sequences.cu_seqlens_q() };
    if num_rows != shape.num_rows() {
        return Err(x.unexpected(OP, "x", format!("[{}, {width}]", shape.num_rows())));
    }
    let mut y = Buffer::scratch(x.device(), x.compute_dtype(), sequences.len() * width)?;
    if x.device() != Device::Cpu {
        return on_device(x, shape, y);
    }
    forward(shape, x.read().f32(OP, "x")?, y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    let saved = Arc::clone(sequences);
    Tensor::record(OP, [sequences.len(), width], y, &[x], move |grad_y, sink| {
        let shape = Shape { width, cu_seqlens: saved.cu_seqlens_q() };
        sink.accumulate(0, |values, add| {
            backward(shape, grad_y.f32()?, Gradient { values, add }).map_err(TensorError::kernel(OP))
        })
    })
}

/// The same as kernels, rounded once to the type of `x`.
fn on_device(x: &Tensor, shape: Shape<'_>, mut y: Buffer) -> Result<Tensor> {
    let (dtype, width) = (y.dtype(), shape.width);
    let memory = x.on_device(OP, "x", dtype)?;
    let starts = Starts::new(memory.executor(), shape.cu_seqlens).map_err(TensorError::kernel(OP))?;
    kernel::forward(kernel::Shape { width, starts: &starts }, dtype, &memory, y.memory_mut()?)
        .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [shape.num_sequences(), width], y, &[x], move |grad_y, sink| {
        let shape = kernel::Shape { width, starts: &starts };
        sink.accumulate_on(0, dtype, |values, add| {
            kernel::backward(shape, dtype, grad_y.memory()?, launch::Gradient { values, add })
                .map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn literal() {
        let x = Tensor::from_f32([3, 2], &[1.0, 2.0, 3.0, 6.0, 5.0, 7.0]).unwrap();
        let sequences = Arc::new(Sequences::packed(&[0, 2, 2, 3]).unwrap());
        let y = mean_rows(&x, &sequences).unwrap();
        assert_eq!((y.shape(), y.to_vec()), (&[3, 2][..], vec![2.0, 4.0, 0.0, 0.0, 5.0, 7.0]));
        let two = Arc::new(Sequences::packed(&[0, 2]).unwrap());
        let error = mean_rows(&x, &two).unwrap_err().to_string();
        assert_eq!(error, "mean_rows: `x` has shape [3, 2], expected [2, 2]");
    }

    #[test]
    fn gradients() {
        let sequences = Arc::new(Sequences::packed(&[0, 3, 4]).unwrap());
        let worst = gradcheck(&[values([4, 3], 1)], |x| mean_rows(&x[0], &sequences)).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
    }
}
