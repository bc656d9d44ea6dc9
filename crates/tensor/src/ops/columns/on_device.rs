//! Columns as kernels.

use std::ops::Range;
use std::sync::Arc;

use device::Buffer;
use device::launch::DeviceBuffer;
use transformer::columns::Shape;
use transformer::launch::columns::{Blocks, gather, scatter, scatter_add};

use super::OP;
use crate::{Result, Tensor, TensorError};

/// As [`super::columns`]: in one launch where the blocks are of equal length at equal distances, as those of fused projections
/// are, and block by block elsewhere.
pub(super) fn columns(shape: Shape, x: &Tensor, blocks: &Arc<[Range<usize>]>) -> Result<Tensor> {
    let (dtype, width) = (x.dtype(), blocks.iter().map(Range::len).sum());
    let memory = x.on_device(OP, "x", dtype)?;
    let mut y = Buffer::scratch(x.device(), dtype, shape.rows * width)?;
    let of_y = Shape { rows: shape.rows, columns: width };
    match Blocks::of(blocks) {
        Some(blocks) => gather(shape, dtype, &memory, blocks, y.memory_mut()?).map_err(TensorError::kernel(OP))?,
        None => each(blocks, |from, to| {
            let mut block = scratch(&memory, shape.rows * from.len * dtype.size_bytes())?;
            gather(shape, dtype, &memory, from, &mut block).map_err(TensorError::kernel(OP))?;
            scatter(of_y, dtype, &block, to, y.memory_mut()?).map_err(TensorError::kernel(OP))
        })?,
    }
    let blocks = Arc::clone(blocks);
    Tensor::record(OP, [shape.rows, width], y, &[x], move |grad_y, sink| {
        let grad_y = grad_y.memory()?;
        sink.accumulate_on(0, dtype, |dx, add| {
            if !add {
                dx.zero()?;
            }
            match Blocks::of(&blocks) {
                Some(blocks) => scatter_add(shape, dtype, grad_y, blocks, dx).map_err(TensorError::kernel(OP)),
                None => each(&blocks, |to, from| {
                    let mut block = scratch(grad_y, shape.rows * from.len * dtype.size_bytes())?;
                    gather(of_y, dtype, grad_y, from, &mut block).map_err(TensorError::kernel(OP))?;
                    scatter_add(shape, dtype, &block, to, dx).map_err(TensorError::kernel(OP))
                }),
            }
        })
    })
}

/// Runs `move_block` on each block, among all columns and among those that are taken.
fn each(blocks: &[Range<usize>], mut move_block: impl FnMut(Blocks, Blocks) -> Result<()>) -> Result<()> {
    let mut start = 0;
    for block in blocks {
        move_block(Blocks::one(block.clone()), Blocks::one(start..start + block.len()))?;
        start += block.len();
    }
    Ok(())
}

fn scratch(like: &DeviceBuffer, bytes: usize) -> Result<DeviceBuffer> {
    Ok(like.executor().allocate(bytes)?)
}
