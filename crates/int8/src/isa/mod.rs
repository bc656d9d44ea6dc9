//! Instruction sets: one tile of a product, and one dot product.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use amx::Amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2Vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512Vnni;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{Neon, NeonDot};
pub(crate) use portable::Portable;

use crate::pack::COLS;

/// Rows of a tile at most, and what rows of activations are padded to.
pub(crate) const ROWS: usize = 32;

/// Sums of a tile, row by row.
pub(crate) type Sums = [[i32; COLS]; ROWS];

/// An instruction set that has tiles. A value of an implementing type is proof that this machine has it.
pub(crate) trait Isa: Copy + Send + Sync {
    /// What bytes of activations differ from their codes by: instructions that take them without sign have the sign bit
    /// flipped, so that a byte is 128 more than its code.
    const FLIP: u8;

    /// Computes `sums[i][j] = sum_k a[i, k] b[k, j]` of all 32 columns and at least `tile.rows` rows, in wrapping 32 bits,
    /// with `a` the bytes, flipped or not.
    ///
    /// # Safety
    /// Within [`Isa::session`]; the operands are as [`Tile`] says.
    unsafe fn tile(self, tile: &Tile, sums: &mut Sums);

    /// Runs `body`, in which this thread may compute tiles.
    fn session<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }
}

/// An instruction set that has products of few rows.
pub(crate) trait Dots: Copy + Send + Sync {
    /// As [`Isa::FLIP`].
    const FLIP: u8;

    /// `sum_k code_k w_k`, of the codes that the bytes `a` stand for; both are as long.
    fn dot(self, a: &[u8], w: &[i8]) -> i32;
}

/// The operands of a tile.
pub(crate) struct Tile {
    /// Bytes of activations, [`ROWS`] rows of `depth`.
    pub(crate) a: *const u8,
    /// From row to row of `a`.
    pub(crate) a_stride: usize,
    /// Rows that matter, not zero.
    pub(crate) rows: usize,
    /// A packed panel of this depth.
    pub(crate) b: *const i8,
    /// Whole chunks.
    pub(crate) depth: usize,
}
