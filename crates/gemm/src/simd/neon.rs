//! NEON of 64-bit ARM: 4 lanes, 32 registers. A tile of 12 x 8 takes 24 for its sums, two for `B` and three for the elements of
//! `A`, which multiply by lane.
//!
//! It is part of every 64-bit ARM that Rust's standard library runs on, so it is on in every function.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use half::{bf16, f16};

use super::{Isa, Source, Vector, axpy, dot, pack, tile, write};
use crate::kernel::{Panel, Sums, Tile};
use crate::narrow::{Block, StripSums};

/// Proof that NEON is there.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

// SAFETY: each method uses NEON only and touches 4 elements at its pointer. Nothing is prefetched: that would be an
// instruction for every load of four lanes.
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

    /// A lane of a whole register: a product with it needs no broadcast.
    #[inline(always)]
    unsafe fn splat_of_panel(panel: *const f32, index: usize) -> Self {
        // SAFETY: as above; panels are whole registers long.
        unsafe {
            let lanes = vld1q_f32(panel.add(index / 4 * 4));
            match index % 4 {
                0 => vdupq_laneq_f32::<0>(lanes),
                1 => vdupq_laneq_f32::<1>(lanes),
                2 => vdupq_laneq_f32::<2>(lanes),
                _ => vdupq_laneq_f32::<3>(lanes),
            }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and for the pointer.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: as above, and for the pointer. A bf16 is the upper half of the f32 of the same value.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: as above, and for the pointer. The conversion is part of NEON and touches no memory.
        unsafe {
            let halves = vld1_u16(from.cast());
            let widened: float32x4_t;
            asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) widened, in(vreg) halves, options(pure, nomem, nostack, preserves_flags));
            widened
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for the pointer.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let bits = vreinterpretq_u32_f32(self);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
            let rounded = vbslq_u32(vceqq_f32(self, self), up, quiet);
            vreinterpretq_f32_u32(vandq_u32(rounded, vdupq_n_u32(0xffff_0000)))
        }
    }

    #[inline(always)]
    unsafe fn store_upper_halves(self, to: *mut bf16) {
        // SAFETY: as above, and for the pointer.
        unsafe { vst1_u16(to.cast(), vshrn_n_u32::<16>(vreinterpretq_u32_f32(self))) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { vfmaq_f32(addend, self, factor) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vaddq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        // SAFETY: as above.
        unsafe { (vzip1q_f32(self, other), vzip2q_f32(self, other)) }
    }
}

type TileKernel = unsafe fn(&Tile<f32>);

/// Kernels by registers along a row, then by rows.
const TILES: [[TileKernel; 12]; 2] = [
    [
        tile::compute::<Neon, 1, 1>,
        tile::compute::<Neon, 2, 1>,
        tile::compute::<Neon, 3, 1>,
        tile::compute::<Neon, 4, 1>,
        tile::compute::<Neon, 5, 1>,
        tile::compute::<Neon, 6, 1>,
        tile::compute::<Neon, 7, 1>,
        tile::compute::<Neon, 8, 1>,
        tile::compute::<Neon, 9, 1>,
        tile::compute::<Neon, 10, 1>,
        tile::compute::<Neon, 11, 1>,
        tile::compute::<Neon, 12, 1>,
    ],
    [
        tile::compute::<Neon, 1, 2>,
        tile::compute::<Neon, 2, 2>,
        tile::compute::<Neon, 3, 2>,
        tile::compute::<Neon, 4, 2>,
        tile::compute::<Neon, 5, 2>,
        tile::compute::<Neon, 6, 2>,
        tile::compute::<Neon, 7, 2>,
        tile::compute::<Neon, 8, 2>,
        tile::compute::<Neon, 9, 2>,
        tile::compute::<Neon, 10, 2>,
        tile::compute::<Neon, 11, 2>,
        tile::compute::<Neon, 12, 2>,
    ],
];

impl Isa for Neon {
    type Vector = float32x4_t;
    const TILE_ROWS: usize = 12;

    fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    #[inline]
    unsafe fn compute_tile(self, tile: &Tile<f32>) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { TILES[tile::vectors::<Self>(tile) - 1][tile.size[0] - 1](tile) }
    }

    unsafe fn pack_panel<T: Source>(self, panel: &Panel<T>, stride: usize, out: &mut [f32]) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { pack::pack::<float32x4_t, T>(panel, stride, out) }
    }

    unsafe fn write_sums(self, sums: &Sums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { write::write::<float32x4_t>(sums) }
    }

    unsafe fn dot<T: Source>(self, block: &Block<T>) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { dot::dot::<float32x4_t, T>(block) }
    }

    unsafe fn axpy<T: Source>(self, block: &Block<T>, sums: &mut StripSums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { axpy::axpy::<float32x4_t, T>(block, sums) }
    }
}
