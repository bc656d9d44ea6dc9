//! Few rows of `A` times columns of `B` whose elements are neighbours.

use super::{Source, Vector, load_partial, sum};
use crate::narrow::{Block, DOT_COLS};

/// Rows that share the loads of `B` in [`dot`]: with [`DOT_COLS`], as many sums as the smallest register file holds.
const DOT_ROWS: usize = 2;
/// How far ahead of its use `B` is fetched, at least. Memory answers one core's loads at half its rate otherwise: they are
/// too few at a time, and the hardware stops looking ahead where a page ends.
const AHEAD_BYTES: usize = 4096;

/// Dot products of rows of `A` with columns of `B` whose elements are neighbours.
///
/// # Safety
/// The instruction set is available; the block's operands and its part of `C` exist, the latter for it alone.
#[inline(always)]
pub(crate) unsafe fn dot<V: Vector, T: Source>(block: &Block<T>) {
    let mut col = block.cols.start;
    // Whole columns, so that nothing is fetched that is not read.
    let ahead = block.b_stride * AHEAD_BYTES.div_ceil(DOT_COLS * block.b_stride * size_of::<T>()) * DOT_COLS;
    // SAFETY: the caller's; rows and columns stay within the block.
    unsafe {
        while col + DOT_COLS <= block.cols.end {
            dot_rows::<V, T, DOT_COLS>(block, col, ahead);
            col += DOT_COLS;
        }
        while col < block.cols.end {
            dot_rows::<V, T, 1>(block, col, ahead);
            col += 1;
        }
    }
}

/// # Safety
/// As for [`dot`], with `col..col + COLS` in the block.
#[inline(always)]
unsafe fn dot_rows<V: Vector, T: Source, const COLS: usize>(block: &Block<T>, col: usize, ahead: usize) {
    // SAFETY: the caller's; rows stay within the block.
    unsafe {
        // The first rows fetch for all.
        let mut row = if block.rows >= DOT_ROWS {
            dot_tile::<V, T, DOT_ROWS, COLS, true>(block, 0, col, ahead);
            DOT_ROWS
        } else {
            dot_tile::<V, T, 1, COLS, true>(block, 0, col, ahead);
            1
        };
        while row + DOT_ROWS <= block.rows {
            dot_tile::<V, T, DOT_ROWS, COLS, false>(block, row, col, ahead);
            row += DOT_ROWS;
        }
        while row < block.rows {
            dot_tile::<V, T, 1, COLS, false>(block, row, col, ahead);
            row += 1;
        }
    }
}

/// # Safety
/// As for [`dot`], with `row..row + ROWS` and `col..col + COLS` in the block.
#[inline(always)]
unsafe fn dot_tile<V: Vector, T: Source, const ROWS: usize, const COLS: usize, const FETCHES: bool>(
    block: &Block<T>,
    row: usize,
    col: usize,
    ahead: usize,
) {
    let whole = block.depth / V::LANES * V::LANES;
    // SAFETY: whole registers end at `whole <= depth`, the rest is loaded to `depth` only, and rows of `a` are zero
    // from `depth` to a multiple of the widest register.
    unsafe {
        let a = block.a.as_ptr().add(row * block.a_stride);
        let b = block.b.as_ptr().add(col * block.b_stride);
        let mut sums = [[V::zero(); COLS]; ROWS];
        let mut step = |k: usize, columns: [V; COLS]| {
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = V::load(a.add(i * block.a_stride + k));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = a.mul_add(column, *sum);
                }
            }
        };
        let mut k = 0;
        while k < whole {
            let mut columns = [V::zero(); COLS];
            for (j, column) in columns.iter_mut().enumerate() {
                let from = b.add(j * block.b_stride + k);
                if FETCHES {
                    V::prefetch(from.wrapping_add(ahead).cast());
                }
                *column = T::load::<V>(from);
            }
            step(k, columns);
            k += V::LANES;
        }
        if whole < block.depth {
            let mut columns = [V::zero(); COLS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = load_partial::<V, T>(b.add(j * block.b_stride + whole), block.depth - whole);
            }
            step(whole, columns);
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, lanes) in sums.into_iter().enumerate() {
                block.write(row + i, col + j, sum(lanes));
            }
        }
    }
}
