//! AVX-512F: 16 lanes, 32 registers. A tile of 6 rows by 4 registers leaves eight for the broadcasts and the row that
//! they multiply.

use std::arch::x86_64::*;

use device::simd::{Fused, Kernel};

use super::{Kernels, Level, Vector};
use crate::dots::{self, Dots};
use crate::product::{self, Tile};
use crate::transpose::{self, Transpose};

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx512",
    lanes: 16,
    tiles: &[
        &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>],
        &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>],
        &[tile::<1, 3>, tile::<2, 3>, tile::<3, 3>, tile::<4, 3>, tile::<5, 3>, tile::<6, 3>],
        &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
    ],
    transpose,
    dots,
    level: Level::Avx512,
};

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
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for the pointer.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(self, factor, addend) }
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

#[target_feature(enable = "avx512f")]
unsafe fn tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { product::compute::<__m512, ROWS, VECTORS>(tile) }
}

#[target_feature(enable = "avx512f")]
unsafe fn transpose(transpose: &Transpose<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { transpose::compute::<__m512, 16>(transpose, out) }
}

#[target_feature(enable = "avx512f")]
unsafe fn dots(dots: &Dots<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { dots::compute::<__m512, 16>(dots, out) }
}

#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}
