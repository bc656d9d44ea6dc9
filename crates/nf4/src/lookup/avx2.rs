//! AVX2. Of 4-byte values the table is two registers, and the fourth bit of a code says which of two permutations has its
//! value. Of 2-byte values it is one for the low bytes and one for the high bytes, and sixteen codes are looked up at a
//! time.

use std::arch::x86_64::*;

use super::{Stores, unpack};

/// See [`super::Expand`]: 4-byte values.
///
/// # Safety
/// The machine has AVX2; `table` has a row for each block and `out` `block_size` elements, a multiple of 32, with half as
/// many bytes in `packed`; `out` is aligned to 64 bytes if stores stream.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn expand(packed: &[u8], table: &[[f32; 16]], block_size: usize, out: &mut [f32], stores: Stores) {
    for (block, table) in table.iter().enumerate() {
        // SAFETY: a row of the table has sixteen values.
        let (low, high) = unsafe { (_mm256_loadu_ps(table.as_ptr()), _mm256_loadu_ps(table.as_ptr().add(8))) };
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

/// See [`super::Expand`]: 2-byte values.
///
/// # Safety
/// As for [`expand`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn expand_half(
    packed: &[u8],
    table: &[[u16; 16]],
    block_size: usize,
    out: &mut [u16],
    stores: Stores,
) {
    let low_bytes = _mm_set1_epi16(0xff);
    for (block, table) in table.iter().enumerate() {
        // SAFETY: a row of the table has sixteen values.
        let (first, second) =
            unsafe { (_mm_loadu_si128(table.as_ptr().cast()), _mm_loadu_si128(table.as_ptr().add(8).cast())) };
        let low = _mm_packus_epi16(_mm_and_si128(first, low_bytes), _mm_and_si128(second, low_bytes));
        let high = _mm_packus_epi16(_mm_srli_epi16::<8>(first), _mm_srli_epi16::<8>(second));
        for i in (block * block_size..(block + 1) * block_size).step_by(32) {
            // SAFETY: as in `expand`.
            unsafe {
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
    }
    if stores == Stores::Streaming {
        _mm_sfence();
    }
}
