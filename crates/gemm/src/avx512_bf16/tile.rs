//! The micro-kernel: up to 32 x 32 sums, 11 rows of them at a time in registers. The second operand is packed; the first may be
//! as it lies, for all that is read of it at a time is a pair of depths of one line.

use std::arch::x86_64::*;
use std::ptr::null;

use half::bf16;

use crate::bf16_tiles::{DEPTH, LINES, TILE, TILE_ELEMENTS};
use crate::in_place::{CACHE_LINE, Columns, Rows, Square};
use crate::kernel::Tile;
use crate::simd::Vector;

/// Rows whose sums are held in registers: a third of a panel, 22 of the 32 registers.
const MOST_ROWS: usize = 11;

/// Lines of the first operand, each of neighbours in depth, against lines of the second, packed in pairs.
#[derive(Clone, Copy)]
struct Product {
    a: *const bf16,
    /// Elements from one line of `a` to the next, and from one depth of 32 to the next.
    a_strides: [usize; 2],
    b: *const bf16,
    /// Depths of 32.
    chunks: usize,
    sums: *mut f32,
    accumulate: bool,
    /// What is fetched ahead: so many cache lines for each depth of 32.
    next: *const bf16,
    ahead: usize,
}

/// Sums of some lines of the first operand.
type Lines = unsafe fn(&Product);

/// By registers along a row of sums, then by rows.
const LINES_BY_COUNT: [[Lines; MOST_ROWS]; 2] = [
    [
        lines::<1, 1>,
        lines::<2, 1>,
        lines::<3, 1>,
        lines::<4, 1>,
        lines::<5, 1>,
        lines::<6, 1>,
        lines::<7, 1>,
        lines::<8, 1>,
        lines::<9, 1>,
        lines::<10, 1>,
        lines::<11, 1>,
    ],
    [
        lines::<1, 2>,
        lines::<2, 2>,
        lines::<3, 2>,
        lines::<4, 2>,
        lines::<5, 2>,
        lines::<6, 2>,
        lines::<7, 2>,
        lines::<8, 2>,
        lines::<9, 2>,
        lines::<10, 2>,
        lines::<11, 2>,
    ],
];

/// The product of two panels. The sum over the depth runs in order, but for the two of a pair, which change places.
///
/// # Safety
/// AVX-512F and BF16 are available; the panels are packed as `depth` says; nothing else accesses the sums.
pub(super) unsafe fn compute(tile: &Tile<bf16>) {
    let product = Product {
        a: tile.a,
        a_strides: [DEPTH, LINES * DEPTH],
        b: tile.b,
        chunks: tile.depth.div_ceil(DEPTH),
        sums: tile.sums,
        accumulate: tile.accumulate,
        next: null(),
        ahead: 0,
    };
    // SAFETY: the caller's: a panel of `A` has 32 lines of each depth of 32, one after another.
    unsafe { product.run(tile.size) }
}

/// See [`InPlace::columns`](crate::in_place::InPlace::columns).
///
/// # Safety
/// AVX-512F and BF16 are available; the columns can be read.
pub(super) unsafe fn columns(columns: &Columns, rows: &Rows, accumulate: bool, sums: &mut Square) {
    assert!(rows.reach(columns) && rows.pieces == 1);
    let product = Product {
        a: columns.first,
        a_strides: [columns.stride, DEPTH],
        b: rows.packed.as_ptr(),
        chunks: columns.depth / DEPTH,
        sums: sums.0.as_mut_ptr(),
        accumulate,
        next: columns.next,
        ahead: columns.ahead,
    };
    let size = [columns.second, rows.second].map(|second| if second { LINES } else { TILE });
    // SAFETY: the caller's, and the assertion.
    unsafe { product.run(size) }
}

impl Product {
    /// So many rows and columns of the sums, in parts of nearly as many rows each.
    ///
    /// # Safety
    /// AVX-512F and BF16 are available; `a` has the rows; `b` has, for each depth of 32, two tiles of 16 pairs of depths of 16
    /// lines; the sums are 32 rows of 32, which nothing else accesses.
    unsafe fn run(self, [rows, columns]: [usize; 2]) {
        let (by_count, parts) = (&LINES_BY_COUNT[columns.div_ceil(TILE) - 1], rows.div_ceil(MOST_ROWS));
        for part in 0..parts {
            let (first, end) = (rows * part / parts, rows * (part + 1) / parts);
            let lines = Self {
                a: self.a.wrapping_add(first * self.a_strides[0]),
                sums: self.sums.wrapping_add(first * LINES),
                // The first part fetches for all.
                ahead: if part == 0 { self.ahead } else { 0 },
                ..self
            };
            // SAFETY: the caller's; the lines are within the rows.
            unsafe { by_count[end - first - 1](&lines) }
        }
    }
}

/// `COUNT` rows of `VECTORS` registers of sums.
///
/// # Safety
/// As for [`Product::run`].
#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(clippy::needless_range_loop)] // Indices that are constants once unrolled keep the sums in registers.
unsafe fn lines<const COUNT: usize, const VECTORS: usize>(product: &Product) {
    let &Product { mut a, a_strides: [line, chunk], mut b, mut next, .. } = product;
    // SAFETY: the caller's. What is fetched ahead may be any address.
    unsafe {
        let sums_at = |row: usize, vector: usize| product.sums.add(row * LINES + vector * TILE);
        let mut sums = [[__m512::zero(); VECTORS]; COUNT];
        if product.accumulate {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = __m512::load(sums_at(row, vector));
                }
            }
        }
        for _ in 0..product.chunks {
            for _ in 0..product.ahead {
                __m512::prefetch(next.cast());
                next = next.wrapping_byte_add(CACHE_LINE);
            }
            for pair in 0..DEPTH / 2 {
                let mut row_of_b = [pairs(__m512::zero()); VECTORS];
                for v in 0..VECTORS {
                    row_of_b[v] = pairs(__m512::load(b.add(v * TILE_ELEMENTS + pair * DEPTH).cast()));
                }
                for i in 0..COUNT {
                    let factor = pairs(__m512::splat(a.add(i * line + 2 * pair).cast::<f32>().read_unaligned()));
                    for v in 0..VECTORS {
                        sums[i][v] = _mm512_dpbf16_ps(sums[i][v], factor, row_of_b[v]);
                    }
                }
            }
            a = a.wrapping_add(chunk);
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
