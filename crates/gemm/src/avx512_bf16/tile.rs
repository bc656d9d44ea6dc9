//! The micro-kernel: up to 32 x 32 sums, 11 rows of them at a time in registers.

use std::arch::x86_64::*;

use half::bf16;

use crate::bf16_tiles::{DEPTH, LINES, TILE, TILE_ELEMENTS};
use crate::kernel::Tile;
use crate::simd::Vector;

/// Rows whose sums are held in registers: a third of a panel, 22 of the 32 registers.
const MOST_ROWS: usize = 11;

/// Sums of some rows from the given one on.
type Rows = unsafe fn(&Tile<bf16>, usize);

/// By registers along a row, then by rows.
const ROWS: [[Rows; MOST_ROWS]; 2] = [
    [
        rows::<1, 1>,
        rows::<2, 1>,
        rows::<3, 1>,
        rows::<4, 1>,
        rows::<5, 1>,
        rows::<6, 1>,
        rows::<7, 1>,
        rows::<8, 1>,
        rows::<9, 1>,
        rows::<10, 1>,
        rows::<11, 1>,
    ],
    [
        rows::<1, 2>,
        rows::<2, 2>,
        rows::<3, 2>,
        rows::<4, 2>,
        rows::<5, 2>,
        rows::<6, 2>,
        rows::<7, 2>,
        rows::<8, 2>,
        rows::<9, 2>,
        rows::<10, 2>,
        rows::<11, 2>,
    ],
];

/// The product of two panels. The sum over the depth runs in order, but for the two of a pair, which change places.
///
/// # Safety
/// AVX-512F and BF16 are available; the panels are packed as `depth` says; nothing else accesses the sums.
pub(super) unsafe fn compute(tile: &Tile<bf16>) {
    let [size, columns] = tile.size;
    let (of_size, parts) = (&ROWS[columns.div_ceil(TILE) - 1], size.div_ceil(MOST_ROWS));
    for part in 0..parts {
        let (first, end) = (size * part / parts, size * (part + 1) / parts);
        // SAFETY: the caller's; the rows are within the tile.
        unsafe { of_size[end - first - 1](tile, first) }
    }
}

/// `COUNT` rows from `first` on, of `VECTORS` registers.
///
/// # Safety
/// As for [`compute`]; the panels have so many rows and so many tiles.
#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(clippy::needless_range_loop)] // Indices that are constants once unrolled keep the sums in registers.
unsafe fn rows<const COUNT: usize, const VECTORS: usize>(tile: &Tile<bf16>, first: usize) {
    // SAFETY: a panel holds, for each depth of 32, 32 lines: of `A` one after another, of `B` two tiles of a pair of depths of
    // 16 lines after another. The sums hold 32 rows of 32. What is fetched ahead may be any address.
    unsafe {
        let sums_at = |row: usize, vector: usize| tile.sums.add((first + row) * LINES + vector * TILE);
        let mut sums = [[__m512::zero(); VECTORS]; COUNT];
        if tile.accumulate {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = __m512::load(sums_at(row, vector));
                }
            }
        }
        let (mut a, mut b) = (tile.a.add(first * DEPTH), tile.b);
        // The first rows fetch for all of the tile.
        let mut next = if first == 0 { tile.next } else { tile.b };
        for _ in 0..tile.depth.div_ceil(DEPTH) {
            for pair in 0..DEPTH / 2 {
                let mut row_of_b = [pairs(__m512::zero()); VECTORS];
                for v in 0..VECTORS {
                    row_of_b[v] = pairs(__m512::load(b.add(v * TILE_ELEMENTS + pair * DEPTH).cast()));
                }
                __m512::prefetch(next.cast());
                for i in 0..COUNT {
                    let factor = pairs(__m512::splat(a.add(i * DEPTH + 2 * pair).cast::<f32>().read_unaligned()));
                    for v in 0..VECTORS {
                        sums[i][v] = _mm512_dpbf16_ps(sums[i][v], factor, row_of_b[v]);
                    }
                }
                next = next.wrapping_add(DEPTH);
            }
            a = a.add(LINES * DEPTH);
            b = b.add(LINES * DEPTH);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                sum.store(sums_at(row, vector));
            }
        }
    }
}

/// A register of words as pairs of bf16.
#[inline(always)]
fn pairs(words: __m512) -> __m512bh {
    // SAFETY: both are 512 bits of which any are valid.
    unsafe { std::mem::transmute(words) }
}
