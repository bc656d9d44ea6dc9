//! The micro-kernel: one tile of `C`, held in registers, over one block of the depth.

use super::{Isa, Vector};
use crate::kernel::Tile;

/// Registers that a row of a tile takes.
#[inline(always)]
pub(crate) fn vectors<I: Isa>(tile: &Tile<f32>) -> usize {
    tile.size[1].div_ceil(<I::Vector as Vector>::LANES)
}

/// The product of two panels. The sum over the depth runs in order.
///
/// # Safety
/// The instruction set is available; the panels are as long as `depth` says; nothing else accesses the sums;
/// `ROWS` is the number of rows and `VECTORS` is `vectors()`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Indices that are constants once unrolled keep the sums in registers.
pub(crate) unsafe fn compute<I: Isa, const ROWS: usize, const VECTORS: usize>(tile: &Tile<f32>) {
    let lanes = <I::Vector as Vector>::LANES;
    // Nothing is fetched ahead: panels lie in the second-level cache in the order that they are read, which processors foresee.
    // SAFETY: panels hold `depth` steps of their strides, and the sums `TILE_ROWS` rows.
    unsafe {
        let mut sums = [[I::Vector::zero(); VECTORS]; ROWS];
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.depth {
            let mut row_of_b = [I::Vector::zero(); VECTORS];
            for v in 0..VECTORS {
                row_of_b[v] = I::Vector::load(b.add(v * lanes));
            }
            for i in 0..ROWS {
                let factor = I::Vector::splat_of_panel(a, i);
                for v in 0..VECTORS {
                    sums[i][v] = factor.mul_add(row_of_b[v], sums[i][v]);
                }
            }
            a = a.add(I::A_STRIDE);
            b = b.add(I::TILE_COLS);
        }
        for i in 0..ROWS {
            for v in 0..VECTORS {
                let to = tile.sums.add(i * I::TILE_COLS + v * lanes);
                if tile.accumulate {
                    sums[i][v] = sums[i][v].add(I::Vector::load(to));
                }
                sums[i][v].store(to);
            }
        }
    }
}
