//! What every machine has: registers as arrays of four lanes, which the compiler maps to SSE2 or NEON.

use device::simd::Kernel;

use super::{Baseline, Kernels, Level, Vector, baseline_mul_add};
use crate::dots::{self, Dots};
use crate::product::{self, Tile};
use crate::transpose::{self, Transpose};

pub(super) static KERNELS: Kernels = Kernels {
    name: "portable",
    lanes: 4,
    tiles: &[
        &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>],
        &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>],
    ],
    transpose,
    dots,
    level: Level::Portable,
};

/// Four lanes.
#[derive(Clone, Copy)]
struct Lanes([f32; 4]);

// SAFETY: needs no instruction set, and touches 4 elements at its pointer.
unsafe impl Vector for Lanes {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's pointer is valid for 4 elements.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| baseline_mul_add(self.0[i], factor.0[i], addend.0[i])))
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        let (a, b) = (self.0, other.0);
        (Self([a[0], b[0], a[1], b[1]]), Self([a[2], b[2], a[3], b[3]]))
    }
}

unsafe fn tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { product::compute::<Lanes, ROWS, VECTORS>(tile) }
}

unsafe fn transpose(transpose: &Transpose<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { transpose::compute::<Lanes, 4>(transpose, out) }
}

unsafe fn dots(dots: &Dots<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { dots::compute::<Lanes, 4>(dots, out) }
}

pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Baseline>()
}
