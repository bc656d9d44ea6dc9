//! Rotary position embedding: channels j and j + rotary_dim / 2 of every head turn by the angle of the token's position.
//!
//! dx = dy turned back by the same angle, with the same factor

use std::sync::Arc;

use device::{Buffer, Device};
use transformer::RopeTable;
use transformer::launch::rope as kernel;
use transformer::rope::{Direction, Forward, InPlace, Shape, forward, in_place};

use crate::{Result, Tensor, TensorError};

const OP: &str = "rope";

/// Rotates the heads of `x`, `[num_tokens, num_heads * head_dim]`; `positions` is one for each token.
///
/// # Errors
/// [`TensorError::Shape`] if a row is not whole heads; [`TensorError::Kernel`] for a position beyond the table or more
/// rotary channels than a head has; [`TensorError::DType`].
pub fn rope(x: &Tensor, table: &Arc<RopeTable>, positions: &Arc<[u32]>, head_dim: usize) -> Result<Tensor> {
    let (num_tokens, width) = x.matrix_shape(OP, "x")?;
    if head_dim == 0 || !width.is_multiple_of(head_dim) {
        return Err(x.unexpected(OP, "x", format!("[num_tokens, num_heads * {head_dim}]")));
    }
    let shape = Shape::contiguous(num_tokens, width / head_dim, head_dim);
    let dtype = x.compute_dtype();
    let mut y = Buffer::scratch(x.device(), dtype, x.count())?;
    if x.device() != Device::Cpu {
        let memory = x.on_device(OP, "x", dtype)?;
        let angles = table.on_device(memory.executor()).and_then(|tables| tables.angles(positions));
        let angles = angles.map_err(TensorError::kernel(OP))?;
        let args = kernel::Forward { dtype, x: &memory, angles: &angles, y: y.memory_mut()? };
        kernel::forward(shape, args).map_err(TensorError::kernel(OP))?;
        return Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
            let (x, direction) = (grad_y.memory_mut()?, Direction::Backward);
            kernel::in_place(shape, kernel::InPlace { dtype, x, angles: &angles, direction })
                .map_err(TensorError::kernel(OP))?;
            sink.give(0, grad_y)
        });
    }
    {
        let x = x.read();
        let args = Forward { x: x.f32(OP, "x")?, table, positions, y: y.f32_mut()? };
        forward(shape, args).map_err(TensorError::kernel(OP))?;
    }
    let (table, positions) = (Arc::clone(table), Arc::clone(positions));
    Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        let (x, direction) = (grad_y.f32_mut()?, Direction::Backward);
        let args = InPlace { x, table: &table, positions: &positions, direction };
        in_place(shape, args).map_err(TensorError::kernel(OP))?;
        sink.give(0, grad_y)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let table = Arc::new(RopeTable::from_frequencies(&[1.0, 0.25], 1.5, 8).unwrap());
        let positions: Arc<[u32]> = [0, 3, 7].into();
        // Two heads of five channels, four of which turn.
        let worst = gradcheck(&[values([3, 10], 1)], |x| rope(&x[0], &table, &positions, 5)).unwrap();
        // Linear: only the rounding of the difference quotient is left.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn rows_must_be_whole_heads_and_positions_in_the_table() {
        let table = Arc::new(RopeTable::from_frequencies(&[1.0], 1.0, 4).unwrap());
        let x = Tensor::from_f32([1, 4], &[0.0; 4]).unwrap();
        assert!(matches!(rope(&x, &table, &[0].into(), 3), Err(TensorError::Shape { .. })));
        assert!(matches!(rope(&x, &table, &[4].into(), 2), Err(TensorError::Kernel { op: "rope", .. })));
    }
}
