//! AVX-512 VNNI: 64 products of bytes in one instruction. A tile of 12 x 32 leaves registers for two of the panel and the
//! broadcast of a group.

use std::arch::x86_64::*;

use super::{Dots, Isa, Sums, Tile};
use crate::pack::{CHUNK, CHUNK_BYTES};

/// Proof that AVX-512 VNNI is there.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(());

/// Rows whose sums stay in registers.
const ROWS: usize = 12;

impl Avx512Vnni {
    pub(crate) fn detect() -> Option<Self> {
        let available = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw");
        available.then_some(Self(()))
    }
}

impl Isa for Avx512Vnni {
    const FLIP: u8 = 0x80;

    unsafe fn tile(self, tile: &Tile, sums: &mut Sums) {
        for first in (0..tile.rows).step_by(ROWS) {
            // SAFETY: `self` proves the instruction set; rows of the caller's operands.
            unsafe {
                match (tile.rows - first).min(ROWS) {
                    1 => rows::<1>(tile, first, sums),
                    2 => rows::<2>(tile, first, sums),
                    3 | 4 => rows::<4>(tile, first, sums),
                    5..=8 => rows::<8>(tile, first, sums),
                    _ => rows::<ROWS>(tile, first, sums),
                }
            }
        }
    }
}

impl Dots for Avx512Vnni {
    const FLIP: u8 = 0x80;

    fn dot(self, a: &[u8], w: &[i8]) -> i32 {
        assert_eq!(a.len(), w.len());
        // SAFETY: `self` proves the instruction set; both are as long.
        unsafe { dot(a, w) }
    }
}

/// Rows `first..first + ROWS`, as far as there are so many.
///
/// # Safety
/// AVX-512 VNNI is available; the operands are as [`Tile`] says, and `first` is below [`super::ROWS`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn rows<const ROWS: usize>(tile: &Tile, first: usize, out: &mut Sums) {
    // The last rows of a tile are computed again rather than rows behind it.
    let first = first.min(super::ROWS - ROWS);
    // SAFETY: the caller's; rows end at `super::ROWS`.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
        let a = tile.a.add(first * tile.a_stride);
        for group in 0..tile.depth / 4 {
            let (chunk, row) = (group / (CHUNK / 4), group % (CHUNK / 4));
            let b = tile.b.add(chunk * CHUNK_BYTES + row * 64);
            let b = [_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(CHUNK_BYTES / 2).cast())];
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_epi32(a.add(i * tile.a_stride + 4 * group).cast::<i32>().read_unaligned());
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_dpbusd_epi32(*sum, a, b);
                }
            }
        }
        for (out, sums) in out[first..].iter_mut().zip(sums) {
            for (half, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_si512(out.as_mut_ptr().add(16 * half).cast(), sum);
            }
        }
    }
}

/// # Safety
/// AVX-512 VNNI is available; both slices are as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot(a: &[u8], w: &[i8]) -> i32 {
    let (mut sum, mut of_w) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let ones = _mm512_set1_epi8(1);
    let mut step = |a, w| {
        sum = _mm512_dpbusd_epi32(sum, a, w);
        of_w = _mm512_dpbusd_epi32(of_w, ones, w);
    };
    let whole = a.len() / 64 * 64;
    // SAFETY: loads end at the slices' length; the mask covers what is left of them.
    unsafe {
        for k in (0..whole).step_by(64) {
            let w = w.as_ptr().add(k);
            // A page ahead: the hardware stops looking ahead where one ends.
            _mm_prefetch::<_MM_HINT_T1>(w.wrapping_add(4096));
            step(_mm512_loadu_si512(a.as_ptr().add(k).cast()), _mm512_loadu_si512(w.cast()));
        }
        let mask = (1u64 << (a.len() - whole)) - 1;
        step(
            _mm512_maskz_loadu_epi8(mask, a.as_ptr().add(whole).cast()),
            _mm512_maskz_loadu_epi8(mask, w.as_ptr().add(whole)),
        );
    }
    let [sum, of_w] = [sum, of_w].map(|lanes| _mm512_reduce_add_epi32(lanes));
    sum.wrapping_sub(128i32.wrapping_mul(of_w))
}
