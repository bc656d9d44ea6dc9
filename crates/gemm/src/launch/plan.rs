//! How a product is cut into blocks.

use device::launch::Grid;

use super::Slabs;
use super::params::{
    GEMM_NARROW_SHARED_BYTES, GEMM_NARROW_THREADS, GEMM_NARROW_TILE, GEMM_SHARED_BYTES, GEMM_THREADS, GEMM_TILE,
};

/// Tiles of C and slabs of the depth. A function of the sizes only: so is the order of every sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether the tile is the one for few rows or columns.
    pub(super) narrow: bool,
    /// Of the product; slabs are along y.
    pub(super) grid: Grid,
    pub(super) slabs: Slabs,
}

impl Plan {
    /// For `[m, k]` by `[k, n]`.
    pub(super) fn new(m: usize, n: usize, k: usize) -> Self {
        let narrow = m.min(n) <= GEMM_NARROW_TILE as usize;
        let (tile, threads, shared) = match narrow {
            true => (GEMM_NARROW_TILE, GEMM_NARROW_THREADS, GEMM_NARROW_SHARED_BYTES),
            false => (GEMM_TILE, GEMM_THREADS, GEMM_SHARED_BYTES),
        };
        let tiles = m.div_ceil(tile as usize).saturating_mul(n.div_ceil(tile as usize));
        let slabs = Slabs::new(tiles, k);
        let grid = Grid::covering(tiles, 1, threads).with_shared(shared);
        let grid = Grid { blocks: [grid.blocks[0], slabs.count as u32, 1], ..grid };
        Self { narrow, grid, slabs }
    }
}
