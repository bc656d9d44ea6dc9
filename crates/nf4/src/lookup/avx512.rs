//! AVX-512F: the table is one register, and one permutation looks up sixteen codes.

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
