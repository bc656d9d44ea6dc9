//! Launching the gathering of columns: [`crate::columns`] on device buffers, for blocks at equal distances.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{
    COLUMNS_GATHER_BF16, COLUMNS_GATHER_F32, COLUMNS_SCATTER_ADD_BF16, COLUMNS_SCATTER_ADD_F32, COLUMNS_SCATTER_BF16,
    COLUMNS_SCATTER_F32,
};
use super::params::{ColumnsParams, ROWS_THREADS};
use super::{check_len, of_dtype};
use crate::columns::Shape;
use crate::{Result, TransformerError};

const OP: &str = "columns";

/// Blocks of equal length at equal distances: one block where queries, keys and values lie side by side (GPT-2, Phi-3), one
/// for each head where they alternate (GPT-NeoX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The first column.
    pub start: usize,
    /// Columns of a block.
    pub len: usize,
    /// From the start of a block to the next; not less than `len` where there are several.
    pub stride: usize,
    /// How many there are.
    pub count: usize,
}

impl Blocks {
    /// One block.
    pub fn one(columns: std::ops::Range<usize>) -> Self {
        Self { start: columns.start, len: columns.len(), stride: columns.len(), count: 1 }
    }

    /// The `ranges`, if they are such blocks.
    pub fn of(ranges: &[std::ops::Range<usize>]) -> Option<Self> {
        let Some(first) = ranges.first() else { return Some(Self::one(0..0)) };
        let stride = ranges.get(1).map_or(first.len(), |second| second.start.saturating_sub(first.start));
        let blocks = Self { start: first.start, len: first.len(), stride, count: ranges.len() };
        let regular = |(i, range): (usize, &std::ops::Range<usize>)| {
            range.start == first.start + i * stride && range.len() == first.len()
        };
        ranges.iter().enumerate().all(regular).then_some(blocks)
    }

    /// Columns of the result.
    fn width(&self) -> usize {
        self.len.saturating_mul(self.count)
    }

    /// Fails unless all of them are there and none overlaps another.
    fn check(&self, columns: usize) -> Result<()> {
        let last = self.count.saturating_sub(1).saturating_mul(self.stride);
        let end = self.start.saturating_add(last).saturating_add(self.len);
        let apart = self.count <= 1 || self.stride >= self.len;
        if self.count == 0 || (apart && end <= columns) {
            return Ok(());
        }
        Err(TransformerError::Columns { start: self.start, end, columns })
    }
}

/// Writes the `blocks` of columns of `x` (`[rows, columns]`), side by side, to `y`. Both are of `dtype`, f32 or bf16.
///
/// # Errors
/// [`TransformerError::Columns`] for blocks that are not there or overlap, [`TransformerError::Length`],
/// [`TransformerError::KernelDType`] for f16, [`TransformerError::Device`] for buffers of different devices and for what a
/// launch refuses.
pub fn gather(shape: Shape, dtype: DType, x: &DeviceBuffer, blocks: Blocks, y: &mut DeviceBuffer) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &COLUMNS_GATHER_F32, &COLUMNS_GATHER_BF16)?;
    launch(kernel, shape, dtype, x, blocks, y)
}

/// Writes `y` to the `blocks` of columns of `x` (`[rows, columns]`); its other columns stay as they are.
///
/// # Errors
/// As [`gather`].
pub fn scatter(shape: Shape, dtype: DType, y: &DeviceBuffer, blocks: Blocks, x: &mut DeviceBuffer) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &COLUMNS_SCATTER_F32, &COLUMNS_SCATTER_BF16)?;
    launch(kernel, shape, dtype, x, blocks, y)
}

/// Adds `dy` to the `blocks` of columns of `dx` (`[rows, columns]`) that it came from.
///
/// # Errors
/// As [`gather`].
pub fn scatter_add(shape: Shape, dtype: DType, dy: &DeviceBuffer, blocks: Blocks, dx: &mut DeviceBuffer) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &COLUMNS_SCATTER_ADD_F32, &COLUMNS_SCATTER_ADD_BF16)?;
    launch(kernel, shape, dtype, dx, blocks, dy)
}

/// Checks and launches; the caller has borrowed what is written mutably.
fn launch(
    kernel: &'static Kernel<ColumnsParams>,
    shape: Shape,
    dtype: DType,
    wide: &DeviceBuffer,
    blocks: Blocks,
    narrow: &DeviceBuffer,
) -> Result<()> {
    blocks.check(shape.columns)?;
    check_len(OP, "all columns", &[shape.rows, shape.columns], dtype, wide)?;
    check_len(OP, "selected columns", &[shape.rows, blocks.width()], dtype, narrow)?;
    let executor = Executor::of(wide, [narrow])?;
    let params = ColumnsParams {
        x: wide.address(),
        y: narrow.address(),
        columns: shape.columns as u64,
        start: blocks.start as u64,
        len: blocks.len as u64,
        stride: blocks.stride as u64,
        count: blocks.count as u64,
    };
    let rows = if blocks.width() == 0 { 0 } else { shape.rows };
    // As many elements are read as written.
    let grid = Grid::covering(rows, 1, ROWS_THREADS).doing(Work::over([narrow, narrow]));
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, the blocks to lie within a row
    // and apart; the callers have borrowed what the kernel writes mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
