//! NEON of 64-bit ARM: 4 lanes, 32 registers. A tile of 6 rows by 4 registers leaves eight for the broadcasts and the row that
//! they multiply.
//!
//! It is part of every 64-bit ARM that Rust's standard library runs on, so it is on in every function, and elementwise loops
//! have it without a copy of their own.

use std::arch::aarch64::*;

use super::{Kernels, Level, Vector};
use crate::dots::{self, Dots};
use crate::product::{self, Tile};
use crate::transpose::{self, Transpose};

pub(super) static KERNELS: Kernels = Kernels {
    name: "neon",
    lanes: 4,
    tiles: &[
        &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>],
        &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>],
        &[tile::<1, 3>, tile::<2, 3>, tile::<3, 3>, tile::<4, 3>, tile::<5, 3>, tile::<6, 3>],
        &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
    ],
    transpose,
    dots,
    level: Level::Portable,
};

// SAFETY: each method uses NEON only and touches 4 elements at its pointer.
unsafe impl Vector for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set, here and below.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and for the pointer.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for the pointer.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vaddq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vmulq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { vfmaq_f32(addend, self, factor) }
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        // SAFETY: as above.
        unsafe { (vzip1q_f32(self, other), vzip2q_f32(self, other)) }
    }
}

unsafe fn tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { product::compute::<float32x4_t, ROWS, VECTORS>(tile) }
}

unsafe fn transpose(transpose: &Transpose<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { transpose::compute::<float32x4_t, 4>(transpose, out) }
}

unsafe fn dots(dots: &Dots<'_>, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { dots::compute::<float32x4_t, 4>(dots, out) }
}
