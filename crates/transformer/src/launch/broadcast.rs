//! Launching a sum with one row: [`crate::broadcast`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{BROADCAST_BF16, BROADCAST_F32};
use super::params::{BroadcastParams, ROWS_THREADS};
use super::{check_len, of_dtype};
use crate::Result;
use crate::broadcast::Shape;

const OP: &str = "broadcast";

/// Writes `x + factor * row` to `y`, `[rows, columns]`, row by row; without `x` as if it were zeros. All are of `dtype`, f32 or
/// bf16.
///
/// # Errors
/// [`crate::TransformerError::Length`], [`crate::TransformerError::KernelDType`] for f16,
/// [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn broadcast(
    shape: Shape,
    dtype: DType,
    x: Option<&DeviceBuffer>,
    factor: f32,
    row: &DeviceBuffer,
    y: &mut DeviceBuffer,
) -> Result<()> {
    launch(shape, dtype, x, factor, row, y)
}

/// Adds `factor * row` to every row of `y`.
///
/// # Errors
/// As [`broadcast`](broadcast()).
pub fn in_place(shape: Shape, dtype: DType, factor: f32, row: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    launch(shape, dtype, Some(y), factor, row, y)
}

/// `y` is borrowed mutably by the callers, and may be `x`.
fn launch(
    shape: Shape,
    dtype: DType,
    x: Option<&DeviceBuffer>,
    factor: f32,
    row: &DeviceBuffer,
    y: &DeviceBuffer,
) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &BROADCAST_F32, &BROADCAST_BF16)?;
    let Shape { rows, columns } = shape;
    x.map_or(Ok(()), |x| check_len(OP, "x", &[rows, columns], dtype, x))?;
    check_len(OP, "row", &[columns], dtype, row)?;
    check_len(OP, "y", &[rows, columns], dtype, y)?;
    let executor = Executor::of(y, [row].into_iter().chain(x))?;
    let params = BroadcastParams {
        x: x.map_or(0, DeviceBuffer::address),
        row: row.address(),
        y: y.address(),
        columns: columns as u64,
        factor,
        padding: 0,
    };
    let blocks = if columns == 0 { 0 } else { rows };
    let grid = Grid::covering(blocks, 1, ROWS_THREADS).doing(Work::over([y].into_iter().chain(x)));
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each row; the
    // callers have borrowed `y` mutably. A thread reads its elements before it writes them.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
