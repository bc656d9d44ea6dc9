//! AVX-512F: the table is one register, and one permutation looks up sixteen codes.

use std::arch::x86_64::*;

use crate::codebook::CODEBOOK;

/// See [`super::Expand`].
///
/// # Safety
/// The machine has AVX-512F; there are `block_size` elements in `out` and half as many bytes in `packed` for each
/// `absmax`, and `block_size` is a multiple of 32.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn expand(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32]) {
    let low_half = _mm_set1_epi8(15);
    // SAFETY: the codebook has sixteen values.
    let codebook = unsafe { _mm512_loadu_ps(CODEBOOK.as_ptr()) };
    for (block, &absmax) in absmax.iter().enumerate() {
        let table = _mm512_mul_ps(codebook, _mm512_set1_ps(absmax));
        for i in (block * block_size..(block + 1) * block_size).step_by(32) {
            // SAFETY: `i + 32` elements are in `out`, half as many bytes in `packed`, as the caller vouches.
            unsafe {
                let bytes = _mm_loadu_si128(packed.as_ptr().add(i / 2).cast());
                let even = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low_half);
                let odd = _mm_and_si128(bytes, low_half);
                let first = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd));
                let second = _mm512_cvtepu8_epi32(_mm_unpackhi_epi8(even, odd));
                _mm512_storeu_ps(out.as_mut_ptr().add(i), _mm512_permutexvar_ps(first, table));
                _mm512_storeu_ps(out.as_mut_ptr().add(i + 16), _mm512_permutexvar_ps(second, table));
            }
        }
    }
}
