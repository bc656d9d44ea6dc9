//! AVX2: the table is two registers; the fourth bit of a code says which of two permutations has its value.

use std::arch::x86_64::*;

use crate::codebook::CODEBOOK;

/// See [`super::Expand`].
///
/// # Safety
/// The machine has AVX2; there are `block_size` elements in `out` and half as many bytes in `packed` for each `absmax`,
/// and `block_size` is a multiple of 32.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn expand(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32]) {
    let low_half = _mm_set1_epi8(15);
    // SAFETY: the codebook has sixteen values.
    let (low, high) = unsafe { (_mm256_loadu_ps(CODEBOOK.as_ptr()), _mm256_loadu_ps(CODEBOOK.as_ptr().add(8))) };
    for (block, &absmax) in absmax.iter().enumerate() {
        let absmax = _mm256_set1_ps(absmax);
        let (low, high) = (_mm256_mul_ps(low, absmax), _mm256_mul_ps(high, absmax));
        for i in (block * block_size..(block + 1) * block_size).step_by(16) {
            // SAFETY: `i + 16` elements are in `out`, half as many bytes in `packed`, as the caller vouches.
            unsafe {
                let bytes = _mm_loadl_epi64(packed.as_ptr().add(i / 2).cast());
                let even = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low_half);
                let codes = _mm_unpacklo_epi8(even, _mm_and_si128(bytes, low_half));
                for (half, codes) in [(0, codes), (8, _mm_srli_si128::<8>(codes))] {
                    let codes = _mm256_cvtepu8_epi32(codes);
                    let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
                    let values = _mm256_blendv_ps(
                        _mm256_permutevar8x32_ps(low, codes),
                        _mm256_permutevar8x32_ps(high, codes),
                        upper,
                    );
                    _mm256_storeu_ps(out.as_mut_ptr().add(i + half), values);
                }
            }
        }
    }
}
