//! `y[i] = x[rows[i]]`.
//!
//! `dx[rows[i]] += dy[i]`

use std::sync::Arc;

use device::{Buffer, Device};
use transformer::launch::rows::{self as kernel, Selected};
use transformer::rows::{Shape, gather, scatter_add};

use crate::{Result, Tensor, TensorError};

/// Takes the rows of `x`, `[num_rows, width]`, that `rows` name, in their order; a row may be taken several times.
///
/// # Errors
/// [`TensorError::Kernel`] for a row that is not there; [`TensorError::Shape`]; [`TensorError::DType`].
pub fn select_rows(x: &Tensor, rows: &Arc<[u32]>) -> Result<Tensor> {
    const OP: &str = "select_rows";
    let (num_rows, width) = x.matrix_shape(OP, "x")?;
    let shape = Shape { rows: num_rows, width };
    let dtype = x.compute_dtype();
    let mut y = Buffer::scratch(x.device(), dtype, rows.len() * width)?;
    if x.device() != Device::Cpu {
        let memory = x.on_device(OP, "x", dtype)?;
        let selected = Selected::new(memory.executor(), rows, num_rows).map_err(TensorError::kernel(OP))?;
        kernel::gather(shape, 1.0, (dtype, &memory), &selected, (dtype, y.memory_mut()?))
            .map_err(TensorError::kernel(OP))?;
        return Tensor::record(OP, [rows.len(), width], y, &[x], move |grad_y, sink| {
            sink.accumulate_on(0, dtype, |dx, add| {
                if !add {
                    dx.zero()?;
                }
                kernel::scatter_add(shape, 1.0, (dtype, grad_y.memory()?), &selected, (dtype, dx), None)
                    .map_err(TensorError::kernel(OP))
            })
        });
    }
    gather(shape, x.read().f32(OP, "x")?, rows, y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    let saved = Arc::clone(rows);
    Tensor::record(OP, [rows.len(), width], y, &[x], move |grad_y, sink| {
        sink.accumulate(0, |dx, add| {
            if !add {
                dx.fill(0.0);
            }
            scatter_add(shape, grad_y.f32()?, &saved, dx).map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let rows: Arc<[u32]> = [3, 1, 3].into();
        let worst = gradcheck(&[values([4, 2], 1)], |x| select_rows(&x[0], &rows)).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        let x = Tensor::from_f32([2, 1], &[5.0, 6.0]).unwrap();
        assert_eq!(select_rows(&x, &[1, 0, 1].into()).unwrap().to_vec(), [6.0, 5.0, 6.0]);
        assert!(matches!(select_rows(&x, &[2].into()), Err(TensorError::Kernel { .. })));
    }
}
