//! AVX-512F: 16 lanes, 32 registers. A tile of 14 x 32 leaves four registers for two of `B` and the broadcasts of `A`.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Isa, Source, Vector, axpy, dot, pack, tile, write};
use crate::kernel::{Panel, Sums, Tile};
use crate::narrow::{Block, StripSums};

/// Proof that AVX-512F is there.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

// SAFETY: each method uses AVX-512F only and touches 16 elements at its pointer.
unsafe impl Vector for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set, here and below.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: as above, and for the pointer. A bf16 is the upper half of the f32 of the same value.
        unsafe {
            let bits = _mm256_loadu_si256(from.cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let bits = _mm512_castps_si512(self);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self, self);
            let rounded = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x0040_0000));
            _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32(-0x10000)))
        }
    }

    #[inline(always)]
    unsafe fn store_upper_halves(self, to: *mut bf16) {
        // SAFETY: as above, and for the pointer.
        unsafe {
            let words = _mm512_srli_epi32::<16>(_mm512_castps_si512(self));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(words));
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const f32) {
        // SAFETY: as above; a prefetch does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        // SAFETY: as above. Indices below 16 name lanes of `self`, the others lanes of `other`.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (_mm512_permutex2var_ps(self, low, other), _mm512_permutex2var_ps(self, high, other))
        }
    }
}

type TileKernel = unsafe fn(&Tile<f32>);

/// Kernels by registers along a row, then by rows.
const TILES: [[TileKernel; 14]; 2] = [
    [
        compute_tile::<1, 1>,
        compute_tile::<2, 1>,
        compute_tile::<3, 1>,
        compute_tile::<4, 1>,
        compute_tile::<5, 1>,
        compute_tile::<6, 1>,
        compute_tile::<7, 1>,
        compute_tile::<8, 1>,
        compute_tile::<9, 1>,
        compute_tile::<10, 1>,
        compute_tile::<11, 1>,
        compute_tile::<12, 1>,
        compute_tile::<13, 1>,
        compute_tile::<14, 1>,
    ],
    [
        compute_tile::<1, 2>,
        compute_tile::<2, 2>,
        compute_tile::<3, 2>,
        compute_tile::<4, 2>,
        compute_tile::<5, 2>,
        compute_tile::<6, 2>,
        compute_tile::<7, 2>,
        compute_tile::<8, 2>,
        compute_tile::<9, 2>,
        compute_tile::<10, 2>,
        compute_tile::<11, 2>,
        compute_tile::<12, 2>,
        compute_tile::<13, 2>,
        compute_tile::<14, 2>,
    ],
];

#[target_feature(enable = "avx512f")]
unsafe fn compute_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<f32>) {
    // SAFETY: the caller's.
    unsafe { tile::compute::<Avx512, ROWS, VECTORS>(tile) }
}

#[target_feature(enable = "avx512f")]
unsafe fn pack_panel<T: Source>(panel: &Panel<T>, stride: usize, out: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe { pack::pack::<__m512, T>(panel, stride, out) }
}

#[target_feature(enable = "avx512f")]
unsafe fn write_sums(sums: &Sums) {
    // SAFETY: the caller's.
    unsafe { write::write::<__m512>(sums) }
}

#[target_feature(enable = "avx512f")]
unsafe fn dot_block<T: Source>(block: &Block<T>) {
    // SAFETY: the caller's.
    unsafe { dot::dot::<__m512, T>(block) }
}

#[target_feature(enable = "avx512f")]
unsafe fn axpy_block<T: Source>(block: &Block<T>, sums: &mut StripSums) {
    // SAFETY: the caller's.
    unsafe { axpy::axpy::<__m512, T>(block, sums) }
}

impl Isa for Avx512 {
    type Vector = __m512;
    const TILE_ROWS: usize = 14;

    fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    #[inline]
    unsafe fn compute_tile(self, tile: &Tile<f32>) {
        // SAFETY: `self` proves AVX-512F; the rest is the caller's.
        unsafe { TILES[tile::vectors::<Self>(tile) - 1][tile.size[0] - 1](tile) }
    }

    unsafe fn pack_panel<T: Source>(self, panel: &Panel<T>, stride: usize, out: &mut [f32]) {
        // SAFETY: `self` proves AVX-512F; the rest is the caller's.
        unsafe { pack_panel(panel, stride, out) }
    }

    unsafe fn write_sums(self, sums: &Sums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { write_sums(sums) }
    }

    unsafe fn dot<T: Source>(self, block: &Block<T>) {
        // SAFETY: `self` proves AVX-512F; the rest is the caller's.
        unsafe { dot_block(block) }
    }

    unsafe fn axpy<T: Source>(self, block: &Block<T>, sums: &mut StripSums) {
        // SAFETY: `self` proves AVX-512F; the rest is the caller's.
        unsafe { axpy_block(block, sums) }
    }
}
