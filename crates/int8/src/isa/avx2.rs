//! AVX-VNNI: 32 products of bytes in one instruction, on processors without AVX-512. A tile of 3 x 32 takes twelve of sixteen
//! registers.

use std::arch::x86_64::*;

use super::{Dots, Isa, Sums, Tile};
use crate::pack::{CHUNK, CHUNK_BYTES};

/// Proof that AVX-VNNI is there.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Vnni(());

/// Rows whose sums stay in registers.
const ROWS: usize = 3;
/// Registers that a row of sums takes.
const VECTORS: usize = 4;

impl Avx2Vnni {
    pub(crate) fn detect() -> Option<Self> {
        let available = is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2");
        available.then_some(Self(()))
    }
}

impl Isa for Avx2Vnni {
    const FLIP: u8 = 0x80;

    unsafe fn tile(self, tile: &Tile, sums: &mut Sums) {
        for first in (0..tile.rows).step_by(ROWS) {
            // SAFETY: `self` proves the instruction set; rows of the caller's operands.
            unsafe {
                match tile.rows - first {
                    1 => rows::<1>(tile, first, sums),
                    2 => rows::<2>(tile, first, sums),
                    _ => rows::<ROWS>(tile, first, sums),
                }
            }
        }
    }
}

impl Dots for Avx2Vnni {
    const FLIP: u8 = 0x80;

    fn dot(self, a: &[u8], w: &[i8]) -> i32 {
        assert_eq!(a.len(), w.len());
        // SAFETY: `self` proves the instruction set; both are as long.
        unsafe { dot(a, w) }
    }
}

/// Rows `first..first + ROWS`.
///
/// # Safety
/// AVX-VNNI is available; the operands are as [`Tile`] says, and have these rows.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn rows<const ROWS: usize>(tile: &Tile, first: usize, out: &mut Sums) {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
        let a = tile.a.add(first * tile.a_stride);
        for group in 0..tile.depth / 4 {
            let (chunk, row) = (group / (CHUNK / 4), group % (CHUNK / 4));
            let b = tile.b.add(chunk * CHUNK_BYTES + row * 64);
            let a: [__m256i; ROWS] = std::array::from_fn(|i| {
                _mm256_set1_epi32(a.add(i * tile.a_stride + 4 * group).cast::<i32>().read_unaligned())
            });
            for v in 0..VECTORS {
                let b = _mm256_loadu_si256(b.add(v / 2 * (CHUNK_BYTES / 2) + v % 2 * 32).cast());
                for (sums, a) in sums.iter_mut().zip(a) {
                    sums[v] = _mm256_dpbusd_avx_epi32(sums[v], a, b);
                }
            }
        }
        for (out, sums) in out[first..].iter_mut().zip(sums) {
            for (v, sum) in sums.into_iter().enumerate() {
                _mm256_storeu_si256(out.as_mut_ptr().add(8 * v).cast(), sum);
            }
        }
    }
}

/// # Safety
/// AVX-VNNI is available; both slices are as long.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn dot(a: &[u8], w: &[i8]) -> i32 {
    let (mut sum, mut of_w) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    let ones = _mm256_set1_epi8(1);
    let (a, a_rest) = a.as_chunks::<32>();
    let (w, w_rest) = w.as_chunks::<32>();
    for (a, w) in a.iter().zip(w) {
        // SAFETY: 32 bytes each.
        let (a, w) = unsafe { (_mm256_loadu_si256(a.as_ptr().cast()), _mm256_loadu_si256(w.as_ptr().cast())) };
        sum = _mm256_dpbusd_avx_epi32(sum, a, w);
        of_w = _mm256_dpbusd_avx_epi32(of_w, ones, w);
    }
    let [sum, of_w] = [sum, of_w].map(|lanes| {
        let mut values = [0i32; 8];
        // SAFETY: the array is as long as a register.
        unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), lanes) };
        values.into_iter().fold(0, i32::wrapping_add)
    });
    let rest: i32 = a_rest.iter().zip(w_rest).map(|(&a, &w)| i32::from((a ^ 0x80) as i8) * i32::from(w)).sum();
    sum.wrapping_sub(128i32.wrapping_mul(of_w)).wrapping_add(rest)
}
