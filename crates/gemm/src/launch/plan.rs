//! How a product is cut into blocks.

use device::launch::Grid;

use super::params::{
    GEMM_NARROW_SHARED_BYTES, GEMM_NARROW_THREADS, GEMM_NARROW_TILE, GEMM_SHARED_BYTES, GEMM_SLAB_UNIT, GEMM_THREADS,
    GEMM_TILE,
};

/// Blocks that fill a GPU: two on each of the 108 multiprocessors of an A100.
const FULL: usize = 216;
/// Depth of a slab at least, so that adding up slabs costs little beside computing them.
const MIN_SLAB_DEPTH: usize = 512;

/// Tiles of C and slabs of the depth. A function of the sizes only: so is the order of every sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether the tile is the one for few rows or columns.
    pub(super) narrow: bool,
    /// Of the product; slabs are along y.
    pub(super) grid: Grid,
    pub(super) slabs: usize,
    pub(super) slab_depth: usize,
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
        let wanted = (FULL / tiles.max(1)).clamp(1, (k / MIN_SLAB_DEPTH).max(1));
        let slab_depth = k.div_ceil(wanted).next_multiple_of(GEMM_SLAB_UNIT as usize).max(1);
        let slabs = k.div_ceil(slab_depth).max(1);
        let grid = Grid::covering(tiles, 1, threads).with_shared(shared);
        let grid = Grid { blocks: [grid.blocks[0], slabs as u32, 1], ..grid };
        Self { narrow, grid, slabs, slab_depth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_fill_a_gpu_and_cover_the_depth() {
        assert_eq!(Plan::new(8192, 4096, 4096).slabs, 1);
        // 16 tiles of 128 x 128: 13 slabs would fill, 8 are deep enough.
        assert_eq!((Plan::new(512, 512, 4096).slabs, Plan::new(512, 512, 4096).slab_depth), (8, 512));
        for (m, n, k) in [(16, 4096, 8192), (1, 1, 100_000), (130, 130, 5000), (200, 100, 0), (3, 5, 7)] {
            let plan = Plan::new(m, n, k);
            assert!(plan.slabs * plan.slab_depth >= k && (plan.slabs - 1) * plan.slab_depth <= k, "{plan:?}");
        }
    }
}
