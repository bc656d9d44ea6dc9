//! AVX-512 BF16: `vdpbf16ps` adds the products of 16 pairs of bf16 to 16 sums of f32, twice the multiply-adds of f32 vectors.
//!
//! For products of bf16 with bf16 alone: pieces of wider numbers, as tiles take them, would need three instructions where f32
//! vectors need two. The products are exact and each is added with one rounding, the odd depth of a pair first, so a sum
//! over `k` is rounded `k` times as in f32 (Intel 2024, "Intrinsics Guide", `_mm512_dpbf16_ps`). Subnormal numbers count as zero.

mod tile;

use device::DType;
use half::bf16;

use crate::bf16_tiles::{self, DEPTH, LINES, TILE};
use crate::in_place::{self, Columns, InPlace, Rows, Square};
use crate::kernel::{Compute, Kernel, Panel, Side, Sums, Tile};
use crate::problem::Problem;
use crate::simd::{Isa, Source, avx512};

/// Proof that AVX-512F, BW and BF16 are there.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(avx512::Avx512);

impl Avx512Bf16 {
    /// `None` if this machine lacks it.
    pub(crate) fn detect() -> Option<Self> {
        let has_pairs = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16");
        avx512::Avx512::detect().filter(|_| has_pairs).map(Self)
    }
}

impl Kernel for Avx512Bf16 {
    type Packed = bf16;
    const PANEL: [usize; 2] = [LINES; 2];
    const PANEL_UNIT: [usize; 2] = [TILE; 2];
    const DEPTH_UNIT: usize = DEPTH;
    const BLOCK_PANELS: [usize; 2] = [8; 2];
    const STAYS: Side = Side::B;
    const STAYING_BYTES: usize = 40 << 10;

    fn stride(self, _side: Side, dtype: DType) -> usize {
        debug_assert_eq!(dtype, DType::BF16);
        LINES
    }

    fn ahead(self, _dtypes: [DType; 2]) -> usize {
        0
    }

    fn block_depth(self, _dtypes: [DType; 2]) -> usize {
        // A panel of `B` of this depth fits the first-level cache, or nearly so.
        576
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
        unsafe { Kernel::write(self.0, sums) }
    }

    /// A long `A` whose rows would have to be transposed goes the other way, where it need not be.
    fn prefers_transposed(self, p: &Problem) -> bool {
        p.n <= LINES && p.n < p.m && !p.terms.iter().any(|term| term.a.depth_is_contiguous)
    }

    fn in_place(self, p: &Problem) -> Option<Compute<Self>> {
        in_place::is_for(p).then_some(in_place::run::<Self>)
    }
}

impl InPlace for Avx512Bf16 {
    unsafe fn columns(self, columns: &Columns, rows: &Rows, accumulate: bool, sums: &mut Square) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { tile::columns(columns, rows, accumulate, sums) }
    }
}
