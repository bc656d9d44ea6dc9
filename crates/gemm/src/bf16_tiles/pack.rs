//! Packing for tiles: a panel of 32 lines becomes, for each depth of 32, for each piece, two tiles of 16 lines.
//!
//! A tile of `A` holds a line in each row. A tile of `B` holds a pair of depths in each row, side by side for each line.
//! Seen as 32-bit words, each a pair of depths, one is the transpose of the other; so either is written as the operand
//! lies in memory, and transposed in registers if it is the other one that is needed.

use std::arch::x86_64::*;

use half::bf16;

use super::{DEPTH, LINES, TILE, TILE_ELEMENTS, pieces};
use crate::kernel::{Panel, Side};
use crate::simd::transpose::transpose;
use crate::simd::{Source, Vector, load_partial};

/// Packs a panel; lines that are missing to 32 and depths that are missing to a multiple of 32 are zero.
///
/// # Safety
/// AVX-512F, BW and BF16 are available; lines and depth are within the operand and not empty; `out` holds 32 lines of the
/// padded depth in as many pieces as the type has.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) unsafe fn pack<T: Source>(panel: &Panel<T>, out: &mut [bf16]) {
    let pieces = pieces(T::DTYPE);
    let transposed = panel.part.depth_is_contiguous == (panel.part.side == Side::B);
    let whole_chunks = if pieces == 1 && panel.part.lines.len() == LINES { panel.part.depth.len() / DEPTH } else { 0 };
    for (chunk, out) in out.chunks_exact_mut(pieces * LINES * DEPTH).enumerate() {
        if chunk < whole_chunks {
            // SAFETY: all lines and depths are there; `out` holds two tiles.
            unsafe {
                let (from, stride, out) = (panel.at(0, chunk * DEPTH), panel.part.source_stride, out.as_mut_ptr());
                match (panel.part.depth_is_contiguous, transposed) {
                    (true, false) => whole_lines::<T, false>(from, stride, out),
                    (true, true) => whole_lines::<T, true>(from, stride, out),
                    (false, false) => whole_pairs::<T, false>(from, stride, out),
                    (false, true) => whole_pairs::<T, true>(from, stride, out),
                }
            }
            continue;
        }
        for (half, first) in [0, TILE].into_iter().enumerate() {
            let count = panel.part.lines.len().saturating_sub(first).min(TILE);
            // SAFETY: `out` holds two tiles for each piece.
            unsafe {
                let out = out.as_mut_ptr().add(half * TILE_ELEMENTS);
                match panel.part.depth_is_contiguous {
                    true => rows_of_lines(panel, first, count, chunk * DEPTH, out),
                    false => rows_of_pairs(panel, first, count, chunk * DEPTH, out),
                }
                for piece in 0..if transposed { pieces } else { 0 } {
                    transpose_tile(out.add(piece * 2 * TILE_ELEMENTS));
                }
            }
        }
    }
}

/// The two tiles of 32 lines of 32 depths each, of numbers of one piece, from line to line `stride` elements on.
///
/// # Safety
/// AVX-512F, BW and BF16 are available; the lines can be read, and two tiles written to `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn whole_lines<T: Source, const TRANSPOSED: bool>(from: *const T, stride: usize, out: *mut bf16) {
    let (mut line, ahead) = (from, LINES * stride);
    for half in 0..2 {
        // SAFETY: the caller's; a line behind the last is not read.
        unsafe {
            let mut rows = [__m512::zero(); TILE];
            for row in &mut rows {
                prefetch(line, ahead);
                *row = _mm512_castsi512_ps(line_bf16(line));
                line = line.wrapping_add(stride);
            }
            store_tile(if TRANSPOSED { transpose(rows) } else { rows }, out.add(half * TILE_ELEMENTS));
        }
    }
}

/// The same of 32 depths of 32 lines each, from depth to depth `stride` elements on.
///
/// # Safety
/// As for [`whole_lines`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn whole_pairs<T: Source, const TRANSPOSED: bool>(from: *const T, stride: usize, out: *mut bf16) {
    let (mut even, ahead) = (from, 2 * DEPTH * stride);
    // SAFETY: the caller's; a depth behind the last is not read.
    unsafe {
        let [mut lower, mut upper] = [[__m512::zero(); TILE]; 2];
        for (i, (lower, upper)) in lower.iter_mut().zip(&mut upper).enumerate() {
            let odd = even.wrapping_add(stride);
            prefetch(even, ahead);
            prefetch(odd, ahead);
            // Neighbours in depth side by side: lines 0 to 3, 8 to 11, 16 to 19 and 24 to 27, and those between them.
            let (a, b) = (line_bf16(even), line_bf16(odd));
            let (low, high) = (_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
            let first = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high);
            let second = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), high);
            if TRANSPOSED {
                *lower = _mm512_castsi512_ps(first);
                *upper = _mm512_castsi512_ps(second);
            } else {
                _mm512_storeu_si512(out.add(i * DEPTH).cast(), first);
                _mm512_storeu_si512(out.add(TILE_ELEMENTS + i * DEPTH).cast(), second);
            }
            even = odd.wrapping_add(stride);
        }
        if TRANSPOSED {
            store_tile(transpose(lower), out);
            store_tile(transpose(upper), out.add(TILE_ELEMENTS));
        }
    }
}

/// # Safety
/// AVX-512F is available; `out` can be written.
#[inline(always)]
unsafe fn store_tile(rows: [__m512; TILE], out: *mut bf16) {
    for (i, row) in rows.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { row.store(out.add(i * DEPTH).cast()) }
    }
}

/// Writes a row for each line: 32 depths from `first_depth` on.
///
/// # Safety
/// As for [`pack`], with `count` lines from `first` on; `out` is the first of one tile for each piece.
#[inline(always)]
unsafe fn rows_of_lines<T: Source>(panel: &Panel<T>, first: usize, count: usize, first_depth: usize, out: *mut bf16) {
    let depths = panel.part.depth.len().saturating_sub(first_depth);
    for i in 0..TILE {
        // SAFETY: `i < count` where a line is read, and no more than `depths` of it.
        unsafe {
            let available = if i < count { depths } else { 0 };
            let from = panel.at(first + i, first_depth);
            prefetch(from, LINES * panel.part.source_stride);
            let low = load::<T>(from, available);
            let high = load::<T>(from.wrapping_add(TILE), available.saturating_sub(TILE));
            // Upper halves of the words of both registers, in order.
            let upper_halves = _mm512_set_epi16(
                63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13,
                11, 9, 7, 5, 3, 1,
            );
            split::<T>(low, high, |piece, low, high| {
                let row = _mm512_permutex2var_epi16(low, upper_halves, high);
                _mm512_storeu_si512(out.add(piece * 2 * TILE_ELEMENTS + i * DEPTH).cast(), row);
            });
        }
    }
}

/// Writes a row for each pair of depths from `first_depth` on: 16 lines.
///
/// # Safety
/// As for [`rows_of_lines`].
#[inline(always)]
unsafe fn rows_of_pairs<T: Source>(panel: &Panel<T>, first: usize, count: usize, first_depth: usize, out: *mut bf16) {
    let depths = panel.part.depth.len().saturating_sub(first_depth);
    for i in 0..TILE {
        // SAFETY: a depth is below `depths` where it is read, and no more than `count` lines are.
        unsafe {
            let available = [2 * i, 2 * i + 1].map(|depth| if depth < depths { count } else { 0 });
            let even = panel.at(first, first_depth + 2 * i);
            let odd = panel.at(first, first_depth + 2 * i + 1);
            prefetch(even, 2 * DEPTH * panel.part.source_stride);
            prefetch(odd, 2 * DEPTH * panel.part.source_stride);
            split::<T>(load::<T>(even, available[0]), load::<T>(odd, available[1]), |piece, even, odd| {
                let row = _mm512_or_si512(_mm512_srli_epi32::<16>(even), odd);
                _mm512_storeu_si512(out.add(piece * 2 * TILE_ELEMENTS + i * DEPTH).cast(), row);
            });
        }
    }
}

/// Fetches what lies `ahead` elements behind `from`: in the same place of the next panel, or at later depths of this one. What is
/// read lies in as many pages as there are lines, or depths, so that the processor does not see it coming. Any address is allowed.
///
/// # Safety
/// AVX-512F is available.
#[inline(always)]
unsafe fn prefetch<T: Source>(from: *const T, ahead: usize) {
    // SAFETY: the caller's; a hint does not fault.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(ahead).cast()) }
}

/// 32 elements of one piece.
///
/// # Safety
/// AVX-512F and AVX-512 BF16 are available; there are 32 elements.
#[inline(always)]
unsafe fn line_bf16<T: Source>(from: *const T) -> __m512i {
    // SAFETY: the caller's. An element of one piece is either a bf16 in memory, or an f32 that is read as one.
    unsafe {
        match size_of::<T>() == size_of::<bf16>() {
            true => _mm512_loadu_si512(from.cast()),
            false => {
                let (low, high) = (__m512::load(from.cast()), __m512::load(from.add(TILE).cast()));
                std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
            }
        }
    }
}

/// Up to 16 elements, widened, and zeros.
///
/// # Safety
/// AVX-512F is available; `from` holds `available` elements, if it is less than 16.
#[inline(always)]
unsafe fn load<T: Source>(from: *const T, available: usize) -> __m512 {
    // SAFETY: the caller's.
    unsafe {
        match available {
            0 => __m512::zero(),
            TILE.. => T::load::<__m512>(from),
            count => load_partial::<__m512, T>(from, count),
        }
    }
}

/// Calls `write(i, a, b)` with piece `i` of two registers of numbers: bf16 in the upper halves of words, zeros below.
///
/// # Safety
/// AVX-512F is available.
#[inline(always)]
unsafe fn split<T: Source>(mut a: __m512, mut b: __m512, mut write: impl FnMut(usize, __m512i, __m512i)) {
    let last = pieces(T::DTYPE) - 1;
    // SAFETY: the caller's.
    unsafe {
        for piece in 0..last {
            let (rounded_a, rounded_b) = (round(a), round(b));
            write(piece, rounded_a, rounded_b);
            a = _mm512_sub_ps(a, _mm512_castsi512_ps(rounded_a));
            b = _mm512_sub_ps(b, _mm512_castsi512_ps(rounded_b));
        }
        // What is left has no more than eight bits, so nothing is cut off. A NaN, which rounding may lose, is left.
        write(last, upper_half(_mm512_castps_si512(a)), upper_half(_mm512_castps_si512(b)));
    }
}

/// The nearest bf16, ties away from zero.
///
/// # Safety
/// AVX-512F is available.
#[inline(always)]
unsafe fn round(x: __m512) -> __m512i {
    // SAFETY: the caller's.
    unsafe { upper_half(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000))) }
}

/// # Safety
/// AVX-512F is available.
#[inline(always)]
unsafe fn upper_half(x: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_and_si512(x, _mm512_set1_epi32(-0x10000)) }
}

/// Transposes a tile of 16 x 16 words.
///
/// # Safety
/// AVX-512F is available; `tile` holds a tile.
#[inline(always)]
unsafe fn transpose_tile(tile: *mut bf16) {
    // SAFETY: the caller's.
    unsafe {
        let mut rows = [__m512::zero(); TILE];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = __m512::load(tile.add(i * DEPTH).cast());
        }
        for (i, row) in transpose(rows).into_iter().enumerate() {
            row.store(tile.add(i * DEPTH).cast());
        }
    }
}
