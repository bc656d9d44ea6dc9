//! `y = [x[:, blocks[0]], x[:, blocks[1]], ...]`: how a fused projection is taken apart.
//!
//! `dx[:, blocks[b]] +=` the columns of dy that came from it

mod on_device;

use std::ops::Range;
use std::sync::Arc;

use device::{Buffer, Device};
use transformer::columns::{Shape, gather, scatter_add};

use crate::{Result, Tensor, TensorError};

const OP: &str = "columns";

/// Takes `blocks` of columns of `x`, `[num_rows, num_columns]`, side by side.
///
/// # Errors
/// [`TensorError::Kernel`] for a block that is not there; [`TensorError::Shape`]; [`TensorError::DType`].
pub fn columns(x: &Tensor, blocks: &Arc<[Range<usize>]>) -> Result<Tensor> {
    let (rows, columns) = x.matrix_shape(OP, "x")?;
    let shape = Shape { rows, columns };
    let width: usize = blocks.iter().map(Range::len).sum();
    let dtype = x.compute_dtype();
    let mut y = Buffer::scratch(x.device(), dtype, rows * width)?;
    if x.device() != Device::Cpu {
        return on_device::columns(shape, x, blocks);
    }
    gather(shape, x.read().f32(OP, "x")?, blocks, y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    let saved = Arc::clone(blocks);
    Tensor::record(OP, [rows, width], y, &[x], move |grad_y, sink| {
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
    use crate::ops;

    #[test]
    fn gradients() {
        let [left, right]: [Arc<[Range<usize>]>; 2] = [[0..1, 3..5].into(), [1..3, 5..6].into()];
        let worst = gradcheck(&[values([3, 6], 1)], |x| {
            ops::add(&ops::scale(&columns(&x[0], &left)?, 2.0)?, &columns(&x[0], &right)?)
        })
        .unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        let x = Tensor::from_f32([1, 3], &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(columns(&x, &[2..3, 0..1].into()).unwrap().to_vec(), [3.0, 1.0]);
        assert!(matches!(columns(&x, &[2..4, 0..0].into()), Err(TensorError::Kernel { .. })));
    }
}
