//! Launching the gathering of rows: [`crate::rows`] and [`crate::embedding`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{
    ROWS_GATHER_BF16, ROWS_GATHER_BF16_TO_F32, ROWS_GATHER_F32, ROWS_GATHER_F32_TO_BF16, ROWS_SCATTER_ADD_BF16,
    ROWS_SCATTER_ADD_BF16_TO_F32, ROWS_SCATTER_ADD_F32,
};
use super::params::{ROWS_NONE, ROWS_THREADS, RowsParams};
use super::{Typed, check_len};
use crate::rows::Shape;
use crate::{Result, TransformerError};

const OP: &str = "select_rows";

/// Numbers of rows on a device. A kernel cannot refuse a row that is not there, so they are checked when they are copied.
#[derive(Debug)]
pub struct Selected {
    /// `[count]` u32
    rows: DeviceBuffer,
    count: usize,
    /// Rows of the table that they are checked for.
    of: usize,
}

impl Selected {
    /// Copies `selected`, rows of a table of `rows`, to `executor`.
    ///
    /// # Errors
    /// [`TransformerError::Row`] for a row that is not there, [`TransformerError::Device`] without memory.
    pub fn new(executor: &Executor, selected: &[u32], rows: usize) -> Result<Self> {
        match selected.iter().position(|&row| row as usize >= rows) {
            Some(index) => Err(TransformerError::Row { op: OP, index, row: selected[index], rows }),
            None => Ok(Self { rows: executor.constant(selected)?, count: selected.len(), of: rows }),
        }
    }
}

/// Writes `factor` times the `selected` rows of `x` (`[rows, width]`) to `y` (`[selected, width]`): f32 or bf16, each its own.
///
/// # Errors
/// [`TransformerError::Length`] for a buffer that does not fit, or for numbers that were checked for another table;
/// [`TransformerError::KernelDType`] for f16; [`TransformerError::Device`] for buffers of different devices and for what a
/// launch refuses.
pub fn gather(
    shape: Shape,
    factor: f32,
    x: Typed<&DeviceBuffer>,
    selected: &Selected,
    y: Typed<&mut DeviceBuffer>,
) -> Result<()> {
    let kernel = match (x.0, y.0) {
        (DType::F32, DType::F32) => &ROWS_GATHER_F32,
        (DType::BF16, DType::BF16) => &ROWS_GATHER_BF16,
        (DType::BF16, DType::F32) => &ROWS_GATHER_BF16_TO_F32,
        (DType::F32, DType::BF16) => &ROWS_GATHER_F32_TO_BF16,
        (DType::F16, _) | (_, DType::F16) => return Err(TransformerError::KernelDType { op: OP, got: DType::F16 }),
    };
    launch(kernel, shape, factor, ("x", x), selected, ("y", (y.0, &*y.1)), ROWS_NONE)
}

/// Adds `factor` times the rows of `dy` (`[selected, width]`) to the `selected` rows of `dx` (`[rows, width]`), in order. The
/// row `kept` stays as it is: that of an embedding's padding token.
///
/// # Errors
/// As [`gather`]; [`TransformerError::KernelDType`] also for f32 rows that would be added to bf16 ones.
pub fn scatter_add(
    shape: Shape,
    factor: f32,
    dy: Typed<&DeviceBuffer>,
    selected: &Selected,
    dx: Typed<&mut DeviceBuffer>,
    kept: Option<u32>,
) -> Result<()> {
    let kernel = match (dx.0, dy.0) {
        (DType::F32, DType::F32) => &ROWS_SCATTER_ADD_F32,
        (DType::BF16, DType::BF16) => &ROWS_SCATTER_ADD_BF16,
        (DType::F32, DType::BF16) => &ROWS_SCATTER_ADD_BF16_TO_F32,
        (got, _) => return Err(TransformerError::KernelDType { op: OP, got }),
    };
    launch(kernel, shape, factor, ("dx", (dx.0, &*dx.1)), selected, ("dy", dy), kept.unwrap_or(ROWS_NONE))
}

/// Checks and launches; the caller has borrowed what is written mutably.
fn launch(
    kernel: &'static Kernel<RowsParams>,
    shape: Shape,
    factor: f32,
    (table_name, (table_dtype, table)): (&'static str, Typed<&DeviceBuffer>),
    selected: &Selected,
    (rows_name, (rows_dtype, rows)): (&'static str, Typed<&DeviceBuffer>),
    kept: u32,
) -> Result<()> {
    let Shape { rows: of, width } = shape;
    if selected.of != of {
        return Err(TransformerError::Length { op: OP, argument: "rows", expected: of, got: selected.of });
    }
    check_len(OP, table_name, &[of, width], table_dtype, table)?;
    check_len(OP, rows_name, &[selected.count, width], rows_dtype, rows)?;
    let executor = Executor::of(table, [rows, &selected.rows])?;
    let params = RowsParams {
        x: table.address(),
        rows: selected.rows.address(),
        y: rows.address(),
        count: selected.count as u64,
        width: width as u64,
        factor,
        kept,
    };
    let blocks = if width == 0 { 0 } else { selected.count };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, the numbers to be rows of the
    // table; the callers have borrowed what the kernel writes mutably.
    Ok(unsafe {
        executor.launch(kernel, Grid::covering(blocks, 1, ROWS_THREADS).doing(Work::over([rows, rows])), &params)
    }?)
}

/// Blocks of a row of `width` elements where each thread keeps to its columns: a vector of four.
pub(super) fn columns_of_blocks(width: usize) -> u32 {
    Grid::covering(width, 4 * ROWS_THREADS, ROWS_THREADS).blocks[0]
}
