//! AVX-512: the table is one register, and one permutation looks up sixteen codes of 4-byte values, or with AVX-512BW 32 of
//! 2-byte ones.

use std::arch::x86_64::*;

use super::{Stores, unpack};

/// See [`super::Expand`]: 4-byte values.
///
/// # Safety
/// The machine has AVX-512F; `table` has a row for each block and `out` `block_size` elements, a multiple of 32, with half
/// as many bytes in `packed`; `out` is aligned to 64 bytes if stores stream.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn expand(packed: &[u8], table: &[[f32; 16]], block_size: usize, out: &mut [f32], stores: Stores) {
    for (block, table) in table.iter().enumerate() {
        // SAFETY: a row of the table has sixteen values.
        let table = unsafe { _mm512_loadu_ps(table.as_ptr()) };
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

/// See [`super::Expand`]: 2-byte values.
///
/// # Safety
/// As for [`expand`], of a machine that has AVX-512BW too.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn expand_half(
    packed: &[u8],
    table: &[[u16; 16]],
    block_size: usize,
    out: &mut [u16],
    stores: Stores,
) {
    for (block, table) in table.iter().enumerate() {
        // SAFETY: a row of the table has sixteen values. Codes are below 16: the upper half is never looked up.
        let table = unsafe { _mm512_castsi256_si512(_mm256_loadu_si256(table.as_ptr().cast())) };
        for i in (block * block_size..(block + 1) * block_size).step_by(32) {
            // SAFETY: as in `expand`.
            unsafe {
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
    }
    if stores == Stores::Streaming {
        _mm_sfence();
    }
}
