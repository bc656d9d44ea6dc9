//! Few rows of `A` times a `B` whose rows' elements are neighbours.

use super::{Source, Vector, load_partial};
use crate::narrow::{AXPY_COLS, Block, StripSums};

/// Depths that [`axpy`] takes for each load of a sum.
const AXPY_DEPTHS: usize = 4;
/// How many depths ahead of their use rows of `B` are fetched: they lie far apart, which the hardware does not foresee.
const AHEAD: usize = 4 * AXPY_DEPTHS;

/// Adds to `sums` the rows of `B` whose elements are neighbours, weighted by elements of `A`: at most [`AXPY_COLS`]
/// columns.
///
/// # Safety
/// The instruction set is available; the block's operands exist.
#[inline(always)]
pub(crate) unsafe fn axpy<V: Vector, T: Source>(block: &Block<T>, sums: &mut StripSums) {
    debug_assert!(block.cols.len() <= AXPY_COLS);
    let mut k = 0;
    // SAFETY: depths stay below `depth`; `sums` holds `AXPY_COLS`, a multiple of the lanes, for each row.
    unsafe {
        while k + AXPY_DEPTHS <= block.depth {
            axpy_depths::<V, T, AXPY_DEPTHS>(block, k, sums);
            k += AXPY_DEPTHS;
        }
        while k < block.depth {
            axpy_depths::<V, T, 1>(block, k, sums);
            k += 1;
        }
    }
}

/// Adds the products of depths `k..k + DEPTHS` to the sums.
///
/// # Safety
/// As for [`axpy`], with those depths in the operands.
#[inline(always)]
unsafe fn axpy_depths<V: Vector, T: Source, const DEPTHS: usize>(block: &Block<T>, k: usize, sums: &mut StripSums) {
    let cols = block.cols.len();
    // SAFETY: the caller's.
    unsafe {
        let b = block.b.as_ptr().add(k * block.b_stride + block.cols.start);
        for v in (0..cols).step_by(V::LANES) {
            let mut rows_of_b = [V::zero(); DEPTHS];
            for (j, row) in rows_of_b.iter_mut().enumerate() {
                let from = b.add(j * block.b_stride + v);
                V::prefetch(from.wrapping_add(AHEAD * block.b_stride).cast());
                *row = if cols - v >= V::LANES { T::load::<V>(from) } else { load_partial::<V, T>(from, cols - v) };
            }
            for row in 0..block.rows {
                let to = sums.as_mut_ptr().add(row * AXPY_COLS + v);
                let mut sum = V::load(to);
                for (j, vector) in rows_of_b.into_iter().enumerate() {
                    sum = V::splat(block.a[row * block.a_stride + k + j]).mul_add(vector, sum);
                }
                sum.store(to);
            }
        }
    }
}
