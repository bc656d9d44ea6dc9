//! Launching the mean of the rows of each sequence: [`crate::mean_rows`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{MEAN_ROWS_BACKWARD_BF16, MEAN_ROWS_BACKWARD_F32, MEAN_ROWS_FORWARD_BF16, MEAN_ROWS_FORWARD_F32};
use super::params::{MeanRowsParams, ROWS_THREADS};
use super::rows::columns_of_blocks;
use super::{Gradient, Starts, check_len, of_dtype};
use crate::Result;

const OP: &str = "mean_rows";

/// Sizes, and where the sequences lie.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Elements of a row.
    pub width: usize,
    /// The sequences of `x`.
    pub starts: &'a Starts,
}

/// Writes the means of `x`, `[num_tokens, width]`, to `y`, `[num_sequences, width]`: both f32 or both bf16.
///
/// # Errors
/// [`crate::TransformerError::Length`], [`crate::TransformerError::KernelDType`] for f16,
/// [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn forward(shape: Shape<'_>, dtype: DType, x: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &MEAN_ROWS_FORWARD_F32, &MEAN_ROWS_FORWARD_BF16)?;
    let sequences = Grid::covering(shape.starts.num_sequences(), 1, ROWS_THREADS);
    let grid = Grid { blocks: [sequences.blocks[0], columns_of_blocks(shape.width), 1], ..sequences };
    launch(kernel, grid, shape, dtype, x, y, false)
}

/// The gradient of `x`, given that of `y`.
///
/// # Errors
/// As [`forward`].
pub fn backward(shape: Shape<'_>, dtype: DType, dy: &DeviceBuffer, dx: Gradient<'_>) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &MEAN_ROWS_BACKWARD_F32, &MEAN_ROWS_BACKWARD_BF16)?;
    let rows = if shape.width == 0 { 0 } else { shape.starts.num_tokens() };
    launch(kernel, Grid::covering(rows, 1, ROWS_THREADS), shape, dtype, dx.values, dy, dx.add)
}

/// Checks and launches; the callers have borrowed what is written mutably.
fn launch(
    kernel: &'static Kernel<MeanRowsParams>,
    grid: Grid,
    shape: Shape<'_>,
    dtype: DType,
    x: &DeviceBuffer,
    y: &DeviceBuffer,
    add: bool,
) -> Result<()> {
    let Shape { width, starts } = shape;
    check_len(OP, "x", &[starts.num_tokens(), width], dtype, x)?;
    check_len(OP, "y", &[starts.num_sequences(), width], dtype, y)?;
    let executor = Executor::of(x, [y, starts.buffer()])?;
    let params = MeanRowsParams {
        x: x.address(),
        y: y.address(),
        cu_seqlens: starts.buffer().address(),
        num_sequences: starts.num_sequences() as u64,
        width: width as u64,
        add: u64::from(add),
    };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, whose starts rise; the callers
    // have borrowed what the kernel writes mutably.
    Ok(unsafe { executor.launch(kernel, grid.doing(Work::over([x, y])), &params) }?)
}
