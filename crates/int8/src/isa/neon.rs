//! NEON of 64-bit ARM: products of bytes that are added up four at a time, with the dot product instruction (`sdot`) where it is,
//! else by widening. A tile of 4 x 16 takes sixteen of 32 registers for its sums, four for the panel and four for the rows.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::{Dots, Isa, Sums, Tile};
use crate::pack::{CHUNK, CHUNK_BYTES, TILE_COLS};

/// Proof that NEON is there.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// Proof that NEON with `sdot` is there.
#[derive(Clone, Copy)]
pub(crate) struct NeonDot(());

/// Rows whose sums stay in registers; whole tiles are a multiple of them.
const ROWS: usize = 4;
/// Registers that a row of sums takes.
const VECTORS: usize = TILE_COLS / 4;
const _: () = assert!(super::ROWS.is_multiple_of(ROWS) && TILE_COLS.is_multiple_of(4));

impl Neon {
    pub(crate) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl NeonDot {
    pub(crate) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }
}

impl Isa for Neon {
    const FLIP: u8 = 0;

    unsafe fn tile(self, tile: &Tile, sums: &mut Sums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { compute::<Widening>(tile, sums) }
    }
}

impl Isa for NeonDot {
    const FLIP: u8 = 0;

    unsafe fn tile(self, tile: &Tile, sums: &mut Sums) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { compute_with_sdot(tile, sums) }
    }
}

impl Dots for Neon {
    const FLIP: u8 = 0;

    fn dot(self, a: &[u8], w: &[i8]) -> i32 {
        // SAFETY: `self` proves the instruction set.
        unsafe { dot::<Widening>(a, w) }
    }
}

impl Dots for NeonDot {
    const FLIP: u8 = 0;

    fn dot(self, a: &[u8], w: &[i8]) -> i32 {
        // SAFETY: `self` proves the instruction set.
        unsafe { dot_with_sdot(a, w) }
    }
}

/// Products of sixteen bytes, added up four at a time.
///
/// # Safety
/// Methods may only be called where the instructions are available.
unsafe trait Multiply {
    /// `sums[i] + a[4 i] b[4 i] + ... + a[4 i + 3] b[4 i + 3]`. Bytes of one of the two are at least -127.
    unsafe fn add(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;

    /// The same with the group `GROUP` of four bytes of `a` in place of every one.
    unsafe fn add_group<const GROUP: i32>(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;
}

/// With what every 64-bit ARM has.
struct Widening;

// SAFETY: NEON only.
unsafe impl Multiply for Widening {
    #[inline(always)]
    unsafe fn add(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's. Two products fit 16 bits: `2 * 127 * 128 < 2^15`.
        unsafe {
            let (low, high) = (vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
            vpadalq_s16(sums, vpaddq_s16(low, high))
        }
    }

    #[inline(always)]
    unsafe fn add_group<const GROUP: i32>(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's.
        unsafe {
            let a = vreinterpretq_s8_s32(vdupq_laneq_s32::<GROUP>(vreinterpretq_s32_s8(a)));
            Self::add(sums, a, b)
        }
    }
}

/// With `sdot`.
struct Sdot;

// SAFETY: `sdot` and NEON only.
unsafe impl Multiply for Sdot {
    #[inline(always)]
    unsafe fn add(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        let result;
        // SAFETY: the caller vouches for the instruction, which works on registers only.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {b:v}.16b, {a:v}.16b",
                sums = inout(vreg) sums => result, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags),
            )
        }
        result
    }

    #[inline(always)]
    unsafe fn add_group<const GROUP: i32>(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        let result;
        // SAFETY: as above.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {b:v}.16b, {a:v}.4b[{group}]",
                sums = inout(vreg) sums => result, a = in(vreg) a, b = in(vreg) b, group = const GROUP,
                options(pure, nomem, nostack, preserves_flags),
            )
        }
        result
    }
}

/// [`compute`] with `sdot`.
///
/// # Safety
/// As there.
#[target_feature(enable = "dotprod")]
unsafe fn compute_with_sdot(tile: &Tile, out: &mut Sums) {
    // SAFETY: the caller's.
    unsafe { compute::<Sdot>(tile, out) }
}

/// # Safety
/// The instructions are available; the operands are as [`Tile`] says.
#[inline(always)]
unsafe fn compute<M: Multiply>(tile: &Tile, out: &mut Sums) {
    for first in (0..tile.rows).step_by(ROWS) {
        for half in 0..2 {
            // SAFETY: the caller's; whole tiles have these rows, and a panel is two halves.
            unsafe { rows::<M>(tile, first, half, out) };
        }
    }
}

/// The sums of rows from `first` on and half of the columns.
///
/// # Safety
/// As for [`compute`].
#[inline(always)]
unsafe fn rows<M: Multiply>(tile: &Tile, first: usize, half: usize, out: &mut Sums) {
    // SAFETY: the caller's; four groups of each row and four rows of each half of a chunk are read at a time.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); VECTORS]; ROWS];
        let a = tile.a.add(first * tile.a_stride).cast::<i8>();
        for depth in (0..tile.depth).step_by(16) {
            let b = tile.b.add(depth / CHUNK * CHUNK_BYTES + half * (CHUNK_BYTES / 2) + depth % CHUNK * TILE_COLS);
            let mut groups = [vdupq_n_s8(0); ROWS];
            for (i, groups) in groups.iter_mut().enumerate() {
                *groups = vld1q_s8(a.add(i * tile.a_stride + depth));
            }
            add_row::<M, 0>(&mut sums, groups, b);
            add_row::<M, 1>(&mut sums, groups, b.add(4 * TILE_COLS));
            add_row::<M, 2>(&mut sums, groups, b.add(8 * TILE_COLS));
            add_row::<M, 3>(&mut sums, groups, b.add(12 * TILE_COLS));
        }
        for (out, sums) in out[first..].iter_mut().zip(sums) {
            for (v, sums) in sums.into_iter().enumerate() {
                vst1q_s32(out[half * TILE_COLS + 4 * v..].as_mut_ptr(), sums);
            }
        }
    }
}

/// Adds the products of one group of four depths.
///
/// # Safety
/// The instructions are available; a row of half a panel is at `b`.
#[inline(always)]
unsafe fn add_row<M: Multiply, const GROUP: i32>(
    sums: &mut [[int32x4_t; VECTORS]; ROWS],
    a: [int8x16_t; ROWS],
    b: *const i8,
) {
    for v in 0..VECTORS {
        // SAFETY: the caller's.
        unsafe {
            let b = vld1q_s8(b.add(16 * v));
            for i in 0..ROWS {
                sums[i][v] = M::add_group::<GROUP>(sums[i][v], a[i], b);
            }
        }
    }
}

/// [`dot`] with `sdot`.
///
/// # Safety
/// As there.
#[target_feature(enable = "dotprod")]
unsafe fn dot_with_sdot(a: &[u8], w: &[i8]) -> i32 {
    // SAFETY: the caller's.
    unsafe { dot::<Sdot>(a, w) }
}

/// # Safety
/// The instructions are available.
#[inline(always)]
unsafe fn dot<M: Multiply>(a: &[u8], w: &[i8]) -> i32 {
    assert_eq!(a.len(), w.len());
    let (a, a_rest) = a.as_chunks::<64>();
    let (w, w_rest) = w.as_chunks::<64>();
    // SAFETY: the caller's; 64 bytes each.
    let sum = unsafe {
        let mut sums = [vdupq_n_s32(0); 4];
        for (a, w) in a.iter().zip(w) {
            for (i, sums) in sums.iter_mut().enumerate() {
                let (a, w) = (vld1q_s8(a.as_ptr().add(16 * i).cast()), vld1q_s8(w.as_ptr().add(16 * i)));
                *sums = M::add(*sums, a, w);
            }
        }
        vaddvq_s32(vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])))
    };
    let rest: i32 = a_rest.iter().zip(w_rest).map(|(&a, &w)| i32::from(a as i8) * i32::from(w)).sum();
    sum.wrapping_add(rest)
}
