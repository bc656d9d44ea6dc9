//! NEON of 64-bit ARM, which is part of every one. A table of a block is one register for each byte of its values, and sixteen
//! codes are looked up in each at a time.

use std::arch::aarch64::*;
use std::arch::asm;

use half::{bf16, f16};

use super::Stores;
use crate::codebook::CODEBOOK;

/// See [`super::Expand`]: f32.
///
/// # Safety
/// `out` has `block_size` elements, a multiple of 32, for each `absmax`, with half as many bytes in `packed`. All stores are
/// cached ones.
pub(super) unsafe fn to_f32(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32], _stores: Stores) {
    for (block, &absmax) in absmax.iter().enumerate() {
        // SAFETY: `i + 32` elements are in `out`, half as many bytes in `packed`; the caller vouches for both.
        unsafe {
            let table = bytes_of_words(values(absmax));
            for i in (block * block_size..(block + 1) * block_size).step_by(32) {
                for (part, codes) in unpack(packed.as_ptr().add(i / 2)).into_iter().enumerate() {
                    let to = out.as_mut_ptr().add(i + 16 * part).cast::<u16>();
                    let mut bytes = table;
                    for bytes in &mut bytes {
                        *bytes = vqtbl1q_u8(*bytes, codes);
                    }
                    let [low, high] = [zip(bytes[0], bytes[1]), zip(bytes[2], bytes[3])];
                    for half in 0..2 {
                        vst1q_u16(to.add(16 * half), vzip1q_u16(low[half], high[half]));
                        vst1q_u16(to.add(16 * half + 8), vzip2q_u16(low[half], high[half]));
                    }
                }
            }
        }
    }
}

/// See [`super::Expand`]: bf16.
///
/// # Safety
/// As for [`to_f32`].
pub(super) unsafe fn to_bf16(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [bf16], _stores: Stores) {
    let out: &mut [u16] = bytemuck::cast_slice_mut(out);
    // SAFETY: the caller's.
    unsafe { to_half(packed, absmax, block_size, out, |values| round_to_bf16(values)) }
}

/// See [`super::Expand`]: f16.
///
/// # Safety
/// As for [`to_f32`].
pub(super) unsafe fn to_f16(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f16], _stores: Stores) {
    let out: &mut [u16] = bytemuck::cast_slice_mut(out);
    // SAFETY: the caller's.
    unsafe { to_half(packed, absmax, block_size, out, |values| round_to_f16(values)) }
}

/// # Safety
/// As for [`to_f32`].
#[inline(always)]
unsafe fn to_half(
    packed: &[u8],
    absmax: &[f32],
    block_size: usize,
    out: &mut [u16],
    round: impl Fn(float32x4_t) -> uint16x4_t,
) {
    for (block, &absmax) in absmax.iter().enumerate() {
        // SAFETY: as in `to_f32`.
        unsafe {
            let [a, b, c, d] = values(absmax).map(&round);
            let (first, second) = (vcombine_u16(a, b), vcombine_u16(c, d));
            let [low, high] = unzip(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second));
            for i in (block * block_size..(block + 1) * block_size).step_by(32) {
                for (part, codes) in unpack(packed.as_ptr().add(i / 2)).into_iter().enumerate() {
                    let to = out.as_mut_ptr().add(i + 16 * part);
                    let [first, second] = zip(vqtbl1q_u8(low, codes), vqtbl1q_u8(high, codes));
                    vst1q_u16(to, first);
                    vst1q_u16(to.add(8), second);
                }
            }
        }
    }
}

/// What the codes of a block stand for.
#[inline(always)]
fn values(absmax: f32) -> [float32x4_t; 4] {
    // SAFETY: NEON is part of every such processor; there are sixteen values.
    [0, 4, 8, 12].map(|first| unsafe { vmulq_n_f32(vld1q_f32(CODEBOOK[first..].as_ptr()), absmax) })
}

/// The first bytes of all words, then the second ones, and so on.
#[inline(always)]
fn bytes_of_words(words: [float32x4_t; 4]) -> [uint8x16_t; 4] {
    // SAFETY: NEON is part of every such processor.
    let [a, b, c, d] = words.map(|words| unsafe { vreinterpretq_u8_f32(words) });
    let ([even, odd], [more_even, more_odd]) = (unzip(a, b), unzip(c, d));
    let ([first, third], [second, fourth]) = (unzip(even, more_even), unzip(odd, more_odd));
    [first, second, third, fourth]
}

/// The even and the odd bytes.
#[inline(always)]
fn unzip(a: uint8x16_t, b: uint8x16_t) -> [uint8x16_t; 2] {
    // SAFETY: NEON is part of every such processor.
    unsafe { [vuzp1q_u8(a, b), vuzp2q_u8(a, b)] }
}

/// Words of low and high bytes.
#[inline(always)]
fn zip(low: uint8x16_t, high: uint8x16_t) -> [uint16x8_t; 2] {
    // SAFETY: NEON is part of every such processor.
    unsafe { [vreinterpretq_u16_u8(vzip1q_u8(low, high)), vreinterpretq_u16_u8(vzip2q_u8(low, high))] }
}

/// The 32 codes of 16 bytes, in order.
///
/// # Safety
/// `from` is valid for 16 bytes.
#[inline(always)]
unsafe fn unpack(from: *const u8) -> [uint8x16_t; 2] {
    // SAFETY: the caller's.
    unsafe {
        let bytes = vld1q_u8(from);
        let (even, odd) = (vshrq_n_u8::<4>(bytes), vandq_u8(bytes, vdupq_n_u8(15)));
        [vzip1q_u8(even, odd), vzip2q_u8(even, odd)]
    }
}

/// The nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
fn round_to_bf16(values: float32x4_t) -> uint16x4_t {
    // SAFETY: NEON is part of every such processor.
    unsafe {
        let bits = vreinterpretq_u32_f32(values);
        // Half a unit of what is kept, less one where that is even already.
        let half = vaddq_u32(vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1)), vdupq_n_u32(0x7fff));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(values, values), vaddq_u32(bits, half), quiet))
    }
}

/// The nearest f16, ties to even.
#[inline(always)]
fn round_to_f16(values: float32x4_t) -> uint16x4_t {
    let rounded: uint16x4_t;
    // SAFETY: NEON is part of every such processor; the conversion works on registers only.
    unsafe {
        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) rounded, in(vreg) values, options(pure, nomem, nostack, preserves_flags));
    }
    rounded
}
