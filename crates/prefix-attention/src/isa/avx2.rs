//! AVX2 with FMA: 8 lanes, 16 registers. A tile of 6 rows by 2 registers leaves four for the broadcasts and the row that
//! they multiply.

use std::arch::x86_64::*;

use device::simd::{Fused, Kernel};

use super::{Kernels, Level, Vector};
use crate::dots::{self, Dots};
use crate::product::{self, Tile};
use crate::transpose::{self, Transpose};

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx2",
    lanes: 8,
    tiles: &[
        &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>],
        &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>],
    ],
    transpose,
    dots,
    level: Level::Avx2,
};

// SAFETY: each method uses AVX2 and FMA only and touches 8 elements at its pointer.
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
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        // SAFETY: as above. Unpacking works within 128-bit halves, so the halves are put in order after it.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(self, other), _mm256_unpackhi_ps(self, other));
            (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { product::compute::<__m256, ROWS, VECTORS>(tile) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn transpose(transpose: &Transpose<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { transpose::compute::<__m256, 8>(transpose, out) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn dots(dots: &Dots<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { dots::compute::<__m256, 8>(dots, out) }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}
