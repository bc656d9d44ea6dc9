//! The micro-kernel: one tile of `C`, held in registers, over one block of the depth.

use crate::isa::{Isa, Vector, load_partial, store_partial};
use crate::problem::Addend;

/// One tile of `C` and the two packed panels that it is the product of.
pub(crate) struct Tile {
    /// Depth of both panels.
    pub(crate) depth: usize,
    /// Packed `[depth, A_STRIDE]`.
    pub(crate) a: *const f32,
    /// Packed `[depth, TILE_COLS]`.
    pub(crate) b: *const f32,
    /// The tile's first element.
    pub(crate) c: *mut f32,
    /// From row to row of `C`.
    pub(crate) c_stride: usize,
    /// Rows of the tile, `1..=TILE_ROWS`.
    pub(crate) rows: usize,
    /// Columns of the tile, `1..=TILE_COLS`.
    pub(crate) cols: usize,
    /// The factor of the product.
    pub(crate) alpha: f32,
    /// What is added to the product, from the tile's first element on.
    pub(crate) addend: Addend,
}

impl Tile {
    /// Registers that a row of the tile takes.
    #[inline(always)]
    pub(crate) fn vectors<I: Isa>(&self) -> usize {
        self.cols.div_ceil(<I::Vector as Vector>::LANES)
    }
}

/// `C = alpha A B + addend` for one tile. The sum over the depth runs in order.
///
/// # Safety
/// The instruction set is available; the panels are as long as `depth` says; `c` and an addend are valid for
/// `rows` rows of `cols` elements and nothing else accesses them; `ROWS = rows` and `VECTORS = vectors()`.
#[inline(always)]
pub(crate) unsafe fn compute<I: Isa, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    let lanes = <I::Vector as Vector>::LANES;
    // SAFETY: panels hold `depth` steps of their strides.
    let sums = unsafe {
        let mut sums = [[I::Vector::zero(); VECTORS]; ROWS];
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.depth {
            let mut row_of_b = [I::Vector::zero(); VECTORS];
            for (v, vector) in row_of_b.iter_mut().enumerate() {
                *vector = I::Vector::load(b.add(v * lanes));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let factor = I::Vector::splat(*a.add(i));
                for (sum, vector) in row.iter_mut().zip(row_of_b) {
                    *sum = factor.mul_add(vector, *sum);
                }
            }
            a = a.add(I::A_STRIDE);
            b = b.add(I::TILE_COLS);
        }
        sums
    };
    // SAFETY: `v * lanes < cols`, and at most `cols` elements of each of `rows` rows are touched.
    unsafe {
        let alpha = I::Vector::splat(tile.alpha);
        for (i, row) in sums.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                let count = tile.cols - v * lanes;
                let value = if tile.addend.start.is_null() {
                    sum.mul(alpha)
                } else {
                    let from = tile.addend.start.add(i * tile.addend.row_stride + v * lanes);
                    let addend = if count >= lanes { I::Vector::load(from) } else { load_partial(from, count) };
                    sum.mul_add(alpha, addend)
                };
                let to = tile.c.add(i * tile.c_stride + v * lanes);
                if count >= lanes { value.store(to) } else { store_partial(value, to, count) }
            }
        }
    }
}
