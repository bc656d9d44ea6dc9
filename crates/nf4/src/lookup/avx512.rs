//! AVX-512: the sixteen values of a block are one register, rounded there too, and one permutation looks up sixteen codes of
//! 4-byte values, or with AVX-512BW 32 of 2-byte ones.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Stores, unpack};
use crate::codebook::CODEBOOK;

/// See [`super::Expand`]: f32.
///
/// # Safety
/// The machine has AVX-512F; `out` has `block_size` elements, a multiple of 32, for each `absmax`, with half as many bytes in
/// `packed`; `out` is aligned to 64 bytes if stores stream.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn to_f32(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32], stores: Stores) {
    for (block, &absmax) in absmax.iter().enumerate() {
        let table = values(absmax);
        for i in (block * block_size..(block + 1) * block_size).step_by(32) {
            // SAFETY: `i + 32` elements are in `out`, half as many bytes in `packed`, and multiples of 32 keep the
            // alignment; the caller vouches for all.
            unsafe {
                let [first, second] = unpack(packed.as_ptr().add(i / 2));
                for (to, codes) in [(i, first), (i + 16, second)] {
                    let values = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(codes), table);
                    match stores {
                        Stores::Cached => _mm512_storeu_ps(out.as_mut_ptr().add(to), values),
                        Stores::Streaming => _mm512_stream_ps(out.as_mut_ptr().add(to), values),
                    }
                }
            }
        }
    }
    if stores == Stores::Streaming {
        _mm_sfence();
    }
}

/// See [`super::Expand`]: bf16.
///
/// # Safety
/// As for [`to_f32`], of a machine that has AVX-512BW too.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn to_bf16(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [bf16], stores: Stores) {
    let out: &mut [u16] = bytemuck::cast_slice_mut(out);
    // SAFETY: the caller's.
    unsafe { to_half(packed, absmax, block_size, out, stores, |values| round_to_bf16(values)) }
}

/// See [`super::Expand`]: f16.
///
/// # Safety
/// As for [`to_bf16`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn to_f16(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f16], stores: Stores) {
    let out: &mut [u16] = bytemuck::cast_slice_mut(out);
    // SAFETY: the caller's.
    unsafe {
        to_half(packed, absmax, block_size, out, stores, |values| {
            _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(values)
        });
    }
}

/// # Safety
/// As for [`to_bf16`].
#[inline(always)]
unsafe fn to_half(
    packed: &[u8],
    absmax: &[f32],
    block_size: usize,
    out: &mut [u16],
    stores: Stores,
    round: impl Fn(__m512) -> __m256i,
) {
    // SAFETY: as in `to_f32`. Codes are below 16: the upper half of the table is never looked up.
    unsafe {
        for (block, &absmax) in absmax.iter().enumerate() {
            let table = _mm512_castsi256_si512(round(values(absmax)));
            for i in (block * block_size..(block + 1) * block_size).step_by(32) {
                let [first, second] = unpack(packed.as_ptr().add(i / 2));
                let codes = _mm512_cvtepu8_epi16(_mm256_set_m128i(second, first));
                let values = _mm512_permutexvar_epi16(codes, table);
                let to = out.as_mut_ptr().add(i).cast();
                match stores {
                    Stores::Cached => _mm512_storeu_si512(to, values),
                    Stores::Streaming => _mm512_stream_si512(to, values),
                }
            }
        }
        if stores == Stores::Streaming {
            _mm_sfence();
        }
    }
}

/// What the codes of a block stand for.
#[target_feature(enable = "avx512f")]
fn values(absmax: f32) -> __m512 {
    // SAFETY: there are sixteen values.
    _mm512_mul_ps(unsafe { _mm512_loadu_ps(CODEBOOK.as_ptr()) }, _mm512_set1_ps(absmax))
}

/// The nearest bf16, ties to even; NaN stays NaN.
#[target_feature(enable = "avx512f")]
fn round_to_bf16(values: __m512) -> __m256i {
    let bits = _mm512_castps_si512(values);
    let kept = _mm512_srli_epi32::<16>(bits);
    // Half a unit of what is kept, less one where that is even already.
    let half = _mm512_add_epi32(_mm512_and_si512(kept, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    let nearest = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
    let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
    _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(nearest, is_nan, kept, _mm512_set1_epi32(0x40)))
}
