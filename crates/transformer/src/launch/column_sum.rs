//! Sums over rows in two steps: blocks of rows by a kernel of the op, then the blocks in order.

use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::Gradient;
use super::kernels::COLUMN_SUM_F32;
use super::params::{COLUMN_SUM_COLUMNS, COLUMN_SUM_ROWS, COLUMN_SUM_THREADS, ColumnSumParams};
use crate::Result;

/// Partial sums of blocks of rows, `[count, columns]` f32.
pub(super) struct Partials {
    pub(super) buffer: DeviceBuffer,
    count: u32,
    columns: usize,
}

impl Partials {
    /// Memory for the sums of `rows` rows.
    pub(super) fn new(executor: &Executor, rows: usize, columns: usize) -> Result<Self> {
        let count = Grid::covering(rows, COLUMN_SUM_ROWS, COLUMN_SUM_THREADS).blocks[0];
        let buffer = executor.allocate(count as usize * columns * size_of::<f32>())?;
        Ok(Self { buffer, count, columns })
    }

    /// The sum of all rows.
    pub(super) fn add_up(&self, executor: &Executor, sums: Gradient<'_>) -> Result<()> {
        let params = ColumnSumParams {
            partials: self.buffer.address(),
            sums: sums.values.address(),
            count: u64::from(self.count),
            columns: self.columns as u64,
            add: u64::from(sums.add),
        };
        let grid = Grid::covering(self.columns, COLUMN_SUM_THREADS, COLUMN_SUM_THREADS);
        // SAFETY: `partials` was made for these sizes; the caller has checked that `sums` holds `columns` f32, which are
        // borrowed mutably.
        Ok(unsafe { executor.launch(&COLUMN_SUM_F32, grid.doing(Work::over([&self.buffer, &*sums.values])), &params) }?)
    }
}

/// A block for each group of columns and of rows.
pub(super) fn grid(rows: usize, columns: usize) -> Grid {
    let of_columns = Grid::covering(columns, COLUMN_SUM_COLUMNS, COLUMN_SUM_THREADS);
    let of_rows = Grid::covering(rows, COLUMN_SUM_ROWS, COLUMN_SUM_THREADS);
    Grid { blocks: [of_columns.blocks[0], of_rows.blocks[0], 1], ..of_columns }
}
