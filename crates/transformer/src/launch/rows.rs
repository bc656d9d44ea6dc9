//! Launching the gathering of rows: [`crate::rows`] and [`crate::embedding`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{
    ROWS_GATHER_BF16, ROWS_GATHER_BF16_TO_F32, ROWS_GATHER_F32, ROWS_GATHER_F32_TO_BF16, ROWS_SCATTER_ADD_BF16,
    ROWS_SCATTER_ADD_BF16_TO_F32, ROWS_SCATTER_ADD_F32,
};
use super::params::{GatherRowsParams, ROWS_NONE, ROWS_THREADS, ScatterRowsParams};
use super::{Typed, check_len};
use crate::rows::Shape;
use crate::{Result, TransformerError};

const OP: &str = "select_rows";

/// Numbers of rows on a device. A kernel cannot refuse a row that is not there, so they are checked when they are copied.
#[derive(Debug)]
pub struct Selected {
    /// u32: `count` numbers, then [`Segments::order`] and [`Segments::starts`].
    memory: DeviceBuffer,
    count: usize,
    segments: usize,
    /// Rows of the table that they are checked for.
    of: usize,
}

impl Selected {
    /// Copies `selected`, rows of a table of `rows`, to `executor`.
    ///
    /// # Errors
    /// [`TransformerError::Row`] for a row that is not there, [`TransformerError::Device`] without memory.
    pub fn new(executor: &Executor, selected: &[u32], rows: usize) -> Result<Self> {
        if let Some(index) = selected.iter().position(|&row| row as usize >= rows) {
            return Err(TransformerError::Row { op: OP, index, row: selected[index], rows });
        }
        let Segments { order, starts } = Segments::of(selected);
        let memory = executor.constant(&[selected, &order, &starts].concat())?;
        Ok(Self { memory, count: selected.len(), segments: starts.len() - 1, of: rows })
    }

    /// Addresses of the numbers, of their order and of its segments.
    fn addresses(&self) -> [u64; 3] {
        let bytes = (self.count * size_of::<u32>()) as u64;
        [0, 1, 2].map(|part| self.memory.address() + part * bytes)
    }
}

/// Places in a list of rows, grouped by row: what lets one block of threads add all that belongs to a row, in order.
struct Segments {
    /// Places of the list; those with the same row side by side, from first to last.
    order: Vec<u32>,
    /// Where in `order` the places of each row start, then where the last ones end.
    starts: Vec<u32>,
}

impl Segments {
    fn of(rows: &[u32]) -> Self {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_by_key(|&place| rows[place as usize]);
        let row = |i: usize| rows[order[i] as usize];
        let starts = (0..order.len()).filter(|&i| i == 0 || row(i) != row(i - 1)).chain([order.len()]);
        let starts = starts.map(|start| start as u32).collect();
        Self { order, starts }
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
    let executor = check(shape, ("x", x), selected, ("y", (y.0, &*y.1)))?;
    let Shape { width, .. } = shape;
    let [rows, ..] = selected.addresses();
    let params = GatherRowsParams { x: x.1.address(), rows, y: y.1.address(), width: width as u64, factor, padding: 0 };
    let blocks = if width == 0 { 0 } else { selected.count };
    let work = Work::bytes(selected.count * width * x.0.size_bytes()) + Work::over([&*y.1]);
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, the numbers to be rows of the
    // table, with a block for each; `y` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, Grid::covering(blocks, 1, ROWS_THREADS).doing(work), &params) }?)
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
    let executor = check(shape, ("dx", (dx.0, &*dx.1)), selected, ("dy", dy))?;
    let Shape { width, .. } = shape;
    let [rows, order, starts] = selected.addresses();
    let params = ScatterRowsParams {
        x: dx.1.address(),
        rows,
        order,
        starts,
        y: dy.1.address(),
        width: width as u64,
        factor,
        kept: kept.unwrap_or(ROWS_NONE),
    };
    // Rows of `dx` are read and written.
    let work = Work::over([dy.1]) + Work::bytes(2 * selected.segments * width * dx.0.size_bytes());
    let each = Grid::covering(selected.segments, 1, ROWS_THREADS).doing(work);
    let grid = Grid { blocks: [each.blocks[0], columns_of_blocks(width), 1], ..each };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, the numbers to be rows of the
    // table; a segment is all that belongs to a row, which one block for each group of columns writes, and `dx` is borrowed
    // mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}

/// Fails unless the table and the rows of it hold what the shape and the numbers say, on the executor that is returned.
fn check<'a>(
    shape: Shape,
    (table_name, (table_dtype, table)): (&'static str, Typed<&'a DeviceBuffer>),
    selected: &Selected,
    (rows_name, (rows_dtype, rows)): (&'static str, Typed<&DeviceBuffer>),
) -> Result<&'a Executor> {
    let Shape { rows: of, width } = shape;
    if selected.of != of {
        return Err(TransformerError::Length { op: OP, argument: "rows", expected: of, got: selected.of });
    }
    check_len(OP, table_name, &[of, width], table_dtype, table)?;
    check_len(OP, rows_name, &[selected.count, width], rows_dtype, rows)?;
    Ok(Executor::of(table, [rows, &selected.memory])?)
}

/// Blocks of a row of `width` elements where each thread keeps to its columns: a vector of four.
pub(super) fn columns_of_blocks(width: usize) -> u32 {
    Grid::covering(width, 4 * ROWS_THREADS, ROWS_THREADS).blocks[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_hold_every_place_of_a_row_in_order() {
        let Segments { order, starts } = Segments::of(&[7, 2, 7, 0, 2, 7]);
        assert_eq!(order, [3, 1, 4, 0, 2, 5]);
        assert_eq!(starts, [0, 1, 3, 6]);
        let Segments { order, starts } = Segments::of(&[]);
        assert_eq!((order.len(), starts), (0, vec![0]));
    }
}
