//! Intel AMX: products of bf16 tiles with f32 sums, sixteen times the rate of f32 vectors.
//!
//! An f32 is the sum of three bf16 exactly, an f16 of two, a bf16 of itself: each piece is the rest so far, rounded to
//! eight bits. A product of two numbers is the sum of the products of their pieces, of which those are computed that
//! matter to an f32: with pieces numbered from the largest, `a_i b_j` for `i + j <= 2`. What is left out is below
//! `2^-23 |a b|`. So f32 against bf16 takes three tile products, f32 against f32 takes six, and both keep the accuracy of
//! f32: Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
//! Computations".
//!
//! Tiles treat subnormal numbers as zero, so pieces below `2^-126` are lost: an error of that size, not a relative one.
//! Numbers that round to more than the largest bf16, `3.39e38`, count as infinite, and infinities give NaN.

mod columns;
mod tile;

use device::DType;
use device::tiles::Tiles;
use half::bf16;

use crate::bf16_tiles::{self, DEPTH, LINES, TILE, pieces};
use crate::in_place::{self, Columns, InPlace, Rows, Square};
use crate::kernel::{Compute, Kernel, Panel, Side, Sums, Tile};
use crate::problem::Problem;
use crate::simd::{Isa, Source, avx512};

/// Products of less depth than this are left to vectors: rounding six products for each depth of 32 stays within the bound
/// of a sum in order only from here on, and packing does not pay below.
pub(crate) const LEAST_DEPTH: usize = 64;

/// Proof that the tiles are there, that this process may use them, and that AVX-512 is there to pack.
#[derive(Clone, Copy)]
pub(crate) struct Amx {
    tiles: Tiles,
    vectors: avx512::Avx512,
}

impl Amx {
    /// `None` if this machine or its kernel lacks it.
    pub(crate) fn detect() -> Option<Self> {
        let can_pack = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16");
        let tiles = Tiles::detect().filter(|tiles| tiles.has_bf16() && can_pack)?;
        Some(Self { tiles, vectors: avx512::Avx512::detect()? })
    }
}

impl Kernel for Amx {
    type Packed = bf16;
    const PANEL: [usize; 2] = [LINES; 2];
    const PANEL_UNIT: [usize; 2] = [TILE; 2];
    const DEPTH_UNIT: usize = DEPTH;
    const BLOCK_PANELS: [usize; 2] = [8, 16];
    const STAYS: Side = Side::A;
    // Of 48 KiB; the others, which go by, need room as well.
    const STAYING_BYTES: usize = 40 << 10;

    fn block_depth(self, [a, _]: [DType; 2]) -> usize {
        // So that a panel of `A` has room for a block, and for the shallow one of a low-rank product behind it.
        match pieces(a) {
            1 => 576,
            2 => 256,
            _ => 128,
        }
    }

    fn stride(self, _side: Side, dtype: DType) -> usize {
        LINES * pieces(dtype)
    }

    fn ahead(self, dtypes: [DType; 2]) -> usize {
        // 256 bytes for each product of pieces of depth 32.
        let [a, b] = dtypes.map(pieces);
        (0..b).map(|j| a.min(3 - j)).sum::<usize>() * 4
    }

    unsafe fn pack<T: Source>(self, panel: &Panel<T>, out: &mut [bf16]) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { bf16_tiles::pack(panel, out) }
    }

    unsafe fn tile(self, tile: &Tile<bf16>) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { tile::compute(tile) }
    }

    unsafe fn write(self, sums: &Sums) {
        // SAFETY: the caller's.
        unsafe { Kernel::write(self.vectors, sums) }
    }

    /// A long `A` whose rows would have to be transposed goes the other way, where it need not be.
    fn prefers_transposed(self, p: &Problem) -> bool {
        p.n <= LINES && p.n < p.m && !p.terms.iter().any(|term| term.a.depth_is_contiguous)
    }

    fn in_place(self, p: &Problem) -> Option<Compute<Self>> {
        in_place::is_for(p).then_some(in_place::run::<Self>)
    }

    fn session<R>(self, body: impl FnOnce() -> R) -> R {
        let _session = self.tiles.session();
        body()
    }
}

impl InPlace for Amx {
    unsafe fn columns(self, columns: &Columns, rows: &Rows, accumulate: bool, sums: &mut Square) {
        // SAFETY: the caller's.
        unsafe { columns::compute(columns, rows, accumulate, sums) }
    }
}
