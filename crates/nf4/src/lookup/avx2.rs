//! AVX2. Of 4-byte values the table of a block is two registers, and the fourth bit of a code says which of two permutations
//! has its value. Of 2-byte values it is one for the low bytes and one for the high bytes, and sixteen codes are looked up at
//! a time.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Stores, unpack};
use crate::codebook::CODEBOOK;

/// See [`super::Expand`]: f32.
///
/// # Safety
/// The machine has AVX2; `out` has `block_size` elements, a multiple of 32, for each `absmax`, with half as many bytes in
/// `packed`; `out` is aligned to 64 bytes if stores stream.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn to_f32(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32], stores: Stores) {
    for (block, &absmax) in absmax.iter().enumerate() {
        let [low, high] = values(absmax);
        for i in (block * block_size..(block + 1) * block_size).step_by(32) {
            // SAFETY: `i + 32` elements are in `out`, half as many bytes in `packed`, and multiples of 32 keep the
            // alignment; the caller vouches for all.
            unsafe {
                let [first, second] = unpack(packed.as_ptr().add(i / 2));
                let parts = [first, _mm_srli_si128::<8>(first), second, _mm_srli_si128::<8>(second)];
                for (part, codes) in parts.into_iter().enumerate() {
                    let codes = _mm256_cvtepu8_epi32(codes);
                    let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
                    let (low, high) = (_mm256_permutevar8x32_ps(low, codes), _mm256_permutevar8x32_ps(high, codes));
                    let values = _mm256_blendv_ps(low, high, upper);
                    let to = out.as_mut_ptr().add(i + 8 * part);
                    match stores {
                        Stores::Cached => _mm256_storeu_ps(to, values),
                        Stores::Streaming => _mm256_stream_ps(to, values),
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
/// As for [`to_f32`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn to_bf16(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [bf16], stores: Stores) {
    let out: &mut [u16] = bytemuck::cast_slice_mut(out);
    // SAFETY: the caller's.
    unsafe { to_half(packed, absmax, block_size, out, stores, |values| round_to_bf16(values)) }
}

/// See [`super::Expand`]: f16.
///
/// # Safety
/// As for [`to_f32`], of a machine that has F16C too.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn to_f16(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f16], stores: Stores) {
    let out: &mut [u16] = bytemuck::cast_slice_mut(out);
    let round = |values| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
    // SAFETY: the caller's.
    unsafe { to_half(packed, absmax, block_size, out, stores, round) }
}

/// # Safety
/// As for [`to_f32`].
#[inline(always)]
unsafe fn to_half(
    packed: &[u8],
    absmax: &[f32],
    block_size: usize,
    out: &mut [u16],
    stores: Stores,
    round: impl Fn(__m256) -> __m128i,
) {
    // SAFETY: as in `to_f32`.
    unsafe {
        let low_bytes = _mm_set1_epi16(0xff);
        for (block, &absmax) in absmax.iter().enumerate() {
            let [first, second] = values(absmax).map(&round);
            let low = _mm_packus_epi16(_mm_and_si128(first, low_bytes), _mm_and_si128(second, low_bytes));
            let high = _mm_packus_epi16(_mm_srli_epi16::<8>(first), _mm_srli_epi16::<8>(second));
            for i in (block * block_size..(block + 1) * block_size).step_by(32) {
                for (part, codes) in unpack(packed.as_ptr().add(i / 2)).into_iter().enumerate() {
                    let (low, high) = (_mm_shuffle_epi8(low, codes), _mm_shuffle_epi8(high, codes));
                    let to = out.as_mut_ptr().add(i + 16 * part).cast::<__m128i>();
                    let (first, second) = (_mm_unpacklo_epi8(low, high), _mm_unpackhi_epi8(low, high));
                    match stores {
                        Stores::Cached => {
                            _mm_storeu_si128(to, first);
                            _mm_storeu_si128(to.add(1), second);
                        }
                        Stores::Streaming => {
                            _mm_stream_si128(to, first);
                            _mm_stream_si128(to.add(1), second);
                        }
                    }
                }
            }
        }
        if stores == Stores::Streaming {
            _mm_sfence();
        }
    }
}

/// What the codes of a block stand for: the first eight, and the others.
#[target_feature(enable = "avx2")]
fn values(absmax: f32) -> [__m256; 2] {
    let absmax = _mm256_set1_ps(absmax);
    // SAFETY: there are sixteen values.
    let (first, second) = unsafe { (_mm256_loadu_ps(CODEBOOK.as_ptr()), _mm256_loadu_ps(CODEBOOK[8..].as_ptr())) };
    [_mm256_mul_ps(first, absmax), _mm256_mul_ps(second, absmax)]
}

/// The nearest bf16, ties to even; NaN stays NaN.
#[target_feature(enable = "avx2")]
fn round_to_bf16(values: __m256) -> __m128i {
    let bits = _mm256_castps_si256(values);
    let kept = _mm256_srli_epi32::<16>(bits);
    // Half a unit of what is kept, less one where that is even already.
    let half = _mm256_add_epi32(_mm256_and_si256(kept, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
    let nearest = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
    let quiet = _mm256_or_si256(kept, _mm256_set1_epi32(0x40));
    let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
    let rounded = _mm256_blendv_epi8(nearest, quiet, is_nan);
    _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256::<1>(rounded))
}
