//! AVX2 with FMA and F16C: 8 lanes, 16 registers. A tile of 6 x 16 leaves four registers for two of `B` and the
//! broadcasts of `A`.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Isa, Source, Vector, axpy, dot, pack, tile, write};
use crate::kernel::{Panel, Sums, Tile};
use crate::narrow::{Block, StripSums};

/// Proof that AVX2, FMA and F16C are there.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

// SAFETY: each method uses AVX2, FMA and F16C only and touches 8 elements at its pointer.
unsafe impl Vector for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set, here and below.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: as above, and for the pointer. A bf16 is the upper half of the f32 of the same value.
        unsafe {
            let bits = _mm_loadu_si128(from.cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let bits = _mm256_castps_si256(self);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self, self));
            let rounded = _mm256_blendv_epi8(up, quiet, nan);
            _mm256_castsi256_ps(_mm256_and_si256(rounded, _mm256_set1_epi32(-0x10000)))
        }
    }

    #[inline(always)]
    unsafe fn store_upper_halves(self, to: *mut bf16) {
        // SAFETY: as above, and for the pointer. Packing works within 128-bit halves, so their words are put together.
        unsafe {
            let words = _mm256_srli_epi32::<16>(_mm256_castps_si256(self));
            let halves = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(words, words));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(halves));
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const f32) {
        // SAFETY: as above; a prefetch does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        // SAFETY: as above. Unpacking works within 128-bit halves, so the halves are put in order after it.
        unsafe {
            let even = _mm256_unpacklo_ps(self, other);
            let odd = _mm256_unpackhi_ps(self, other);
            (_mm256_permute2f128_ps::<0x20>(even, odd), _mm256_permute2f128_ps::<0x31>(even, odd))
        }
    }
}

type TileKernel = unsafe fn(&Tile<f32>);

/// Kernels by registers along a row, then by rows.
const TILES: [[TileKernel; 6]; 2] = [
    [
        compute_tile::<1, 1>,
        compute_tile::<2, 1>,
        compute_tile::<3, 1>,
        compute_tile::<4, 1>,
        compute_tile::<5, 1>,
        compute_tile::<6, 1>,
    ],
    [
        compute_tile::<1, 2>,
        compute_tile::<2, 2>,
        compute_tile::<3, 2>,
        compute_tile::<4, 2>,
        compute_tile::<5, 2>,
        compute_tile::<6, 2>,
    ],
];

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn compute_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<f32>) {
    // SAFETY: the caller's.
    unsafe { tile::compute::<Avx2, ROWS, VECTORS>(tile) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pack_panel<T: Source>(panel: &Panel<T>, stride: usize, out: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe { pack::pack::<__m256, T>(panel, stride, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn write_sums(sums: &Sums) {
    // SAFETY: the caller's.
    unsafe { write::write::<__m256>(sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dot_block<T: Source>(block: &Block<T>) {
    // SAFETY: the caller's.
    unsafe { dot::dot::<__m256, T>(block) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn axpy_block<T: Source>(block: &Block<T>, sums: &mut StripSums) {
    // SAFETY: the caller's.
    unsafe { axpy::axpy::<__m256, T>(block, sums) }
}

impl Isa for Avx2 {
    type Vector = __m256;
    const TILE_ROWS: usize = 6;

    fn detect() -> Option<Self> {
        let all =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        all.then_some(Self(()))
    }

    #[inline]
    unsafe fn compute_tile(self, tile: &Tile<f32>) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { TILES[tile::vectors::<Self>(tile) - 1][tile.size[0] - 1](tile) }
    }

    unsafe fn pack_panel<T: Source>(self, panel: &Panel<T>, stride: usize, out: &mut [f32]) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { pack_panel(panel, stride, out) }
    }

    unsafe fn write_sums(self, sums: &Sums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { write_sums(sums) }
    }

    unsafe fn dot<T: Source>(self, block: &Block<T>) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { dot_block(block) }
    }

    unsafe fn axpy<T: Source>(self, block: &Block<T>, sums: &mut StripSums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { axpy_block(block, sums) }
    }
}
