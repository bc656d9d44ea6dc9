//! Panels of bf16 in tiles of 1 KiB, 16 lines of 32 depths, for instructions that multiply pairs of neighbours in depth: AMX
//! and AVX-512 BF16.

mod pack;

use device::DType;

pub(crate) use pack::pack;

/// Lines of a tile.
pub(crate) const TILE: usize = 16;
/// Depth of a tile.
pub(crate) const DEPTH: usize = 32;
/// Lines of a panel: two tiles.
pub(crate) const LINES: usize = 2 * TILE;
/// Elements of a tile.
pub(crate) const TILE_ELEMENTS: usize = TILE * DEPTH;

/// How many bf16 sum up to a number of this type.
pub(crate) const fn pieces(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 3,
        DType::F16 => 2,
        DType::BF16 => 1,
    }
}
