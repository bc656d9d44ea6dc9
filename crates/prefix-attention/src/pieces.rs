//! f32 matrices as three matrices of bf16, or rounded to one, in tiles as AMX reads them.
//!
//! An f32 is the sum of three bf16 exactly ([`EXACT`]). A product of two numbers is the sum of the products of their pieces, of which
//! those are computed that matter to an f32: with pieces numbered from the largest, `a_i b_j` for `i + j <= 2`. What is
//! left out is below `2^-21 |a b|` where one operand was cut by truncation, and below `2^-23 |a b|` where both were rounded.
//! Source: Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
//! Computations". In bf16 every operand is one piece, the nearest bf16 ([`NEAREST`]), and a product of two is exact.
//!
//! A tile is 16 rows of 16 words of two bf16. A word holds the depths `i` and `i + 16` of a chunk of 32: which depths are
//! neighbours is free as long as both operands agree, and these need no shuffling. In an operand of rows (`A`) a row of a
//! tile is a line and a word a pair of depths; in one of columns (`B`) it is the other way round. A panel is 32 lines: for
//! each chunk, for each piece, two tiles.
//!
//! Tiles treat subnormal numbers as zero, so pieces below `2^-126` are lost: an error of that size, not a relative one.
//! Infinities give NaN.

use device::simd::{Isa, Kernel};

/// bf16 that sum up to an f32.
pub(crate) const EXACT: usize = 3;
/// The one bf16 that is nearest to an f32.
pub(crate) const NEAREST: usize = 1;
/// Rows, and words of a row, of a tile.
pub(crate) const TILE: usize = 16;
/// Words of a tile.
pub(crate) const TILE_WORDS: usize = TILE * TILE;
/// Lines of a panel.
pub(crate) const LINES: usize = 2 * TILE;
/// Depths of a chunk.
pub(crate) const DEPTH: usize = 2 * TILE;
/// From piece to piece.
const PIECE_WORDS: usize = 2 * TILE_WORDS;

/// Words of a chunk of a panel.
pub(crate) const fn chunk_words(pieces: usize) -> usize {
    pieces * PIECE_WORDS
}

/// Words of `lines` lines of a depth that whole chunks divide, with room for whole panels.
pub(crate) const fn packed_words(pieces: usize, lines: usize, depth: usize) -> usize {
    lines.div_ceil(LINES) * (depth / DEPTH) * chunk_words(pieces)
}

/// The first words of the tile row `row`, of the 16 lines from `line` on, in a chunk.
#[inline(always)]
pub(crate) fn place<const PIECES: usize>(chunks: usize, line: usize, chunk: usize, row: usize) -> usize {
    (line / LINES * chunks + chunk) * chunk_words(PIECES) + line % LINES / TILE * TILE_WORDS + row * TILE
}

/// One product of panels: `out[r, c] = sum_k a[r, k] b[k, c]`, or added to `out`.
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
pub(crate) struct TileProduct<'a, const PIECES: usize> {
    /// A panel of 32 rows, or a part of its chunks.
    pub(crate) a: &'a [u32],
    /// A panel of columns, likewise.
    pub(crate) b: &'a [u32],
    /// Not zero.
    pub(crate) chunks: usize,
    /// 32 rows.
    pub(crate) out: &'a mut [f32],
    /// From row to row of `out`.
    pub(crate) out_row: usize,
    /// 16 or 32.
    pub(crate) cols: usize,
    /// Whether the product is added to `out`, rather than written over it.
    pub(crate) adds: bool,
}

impl<const PIECES: usize> TileProduct<'_, PIECES> {
    pub(crate) fn check(&self) {
        let words = self.chunks * chunk_words(PIECES);
        assert!(self.chunks > 0 && (self.cols == TILE || self.cols == LINES), "product: {} columns", self.cols);
        assert!(words <= self.a.len() && words <= self.b.len(), "product: operands");
        assert!((LINES - 1) * self.out_row + self.cols <= self.out.len(), "product: out");
    }
}

/// Packs rows: lines along which the depth is contiguous.
pub(crate) struct PackRows<'a, const PIECES: usize> {
    /// `[lines, depth]`, both whole tiles. Where the depth ends within a chunk, zeros follow.
    pub(crate) from: &'a [f32],
    /// From line to line of `from`.
    pub(crate) from_row: usize,
    pub(crate) lines: usize,
    pub(crate) depth: usize,
    pub(crate) out: &'a mut [u32],
}

impl<const PIECES: usize> Kernel for PackRows<'_, PIECES> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let chunks = self.depth.div_ceil(DEPTH);
        for (line, from) in self.from.chunks(self.from_row).take(self.lines).enumerate() {
            let place = |chunk| place::<PIECES>(chunks, line, chunk, line % TILE);
            let (pairs, rest) = from[..self.depth].as_chunks::<DEPTH>();
            for (chunk, pair) in pairs.iter().enumerate() {
                let (low, high) = pair.split_at(TILE);
                split::<PIECES>(low, high, &mut self.out[place(chunk)..], rounded);
            }
            if !rest.is_empty() {
                split::<PIECES>(rest, &[0.0; TILE], &mut self.out[place(pairs.len())..], rounded);
            }
        }
    }
}

/// Packs columns: lines that stand side by side, one row for each depth.
pub(crate) struct PackColumns<'a, const PIECES: usize> {
    /// `[depth, width]`, both whole chunks and tiles.
    pub(crate) from: &'a [f32],
    pub(crate) width: usize,
    pub(crate) out: &'a mut [u32],
}

impl<const PIECES: usize> Kernel for PackColumns<'_, PIECES> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { from, width, out } = self;
        let chunks = from.len() / width / DEPTH;
        for (chunk, from) in from.chunks_exact(DEPTH * width).enumerate() {
            let (low, high) = from.split_at(TILE * width);
            for (row, (low, high)) in low.chunks_exact(width).zip(high.chunks_exact(width)).enumerate() {
                for line in (0..width).step_by(TILE) {
                    let (low, high) = (&low[line..][..TILE], &high[line..][..TILE]);
                    split::<PIECES>(low, high, &mut out[place::<PIECES>(chunks, line, chunk, row)..], rounded);
                }
            }
        }
    }
}

/// Writes a row of 16 words for each piece of two times 16 numbers. `upper_half` gives all pieces but the last; where there is one
/// only, it is the nearest bf16.
#[inline(always)]
pub(crate) fn split<const PIECES: usize>(low: &[f32], high: &[f32], out: &mut [u32], upper_half: impl Fn(f32) -> u32) {
    let mut rest: [[f32; TILE]; 2] = [low.try_into().expect("16 numbers"), high.try_into().expect("16 numbers")];
    let out = &mut out[..(PIECES - 1) * PIECE_WORDS + TILE];
    for piece in 0..PIECES - 1 {
        for i in 0..TILE {
            let [low, high] = [upper_half(rest[0][i]), upper_half(rest[1][i])];
            out[piece * PIECE_WORDS + i] = low >> 16 | high;
            rest[0][i] -= f32::from_bits(low);
            rest[1][i] -= f32::from_bits(high);
        }
    }
    // What is left of several has no more than eight bits, so nothing is cut off. A NaN, which rounding may lose, is left.
    let last = if PIECES == NEAREST { nearest } else { truncated };
    for i in 0..TILE {
        out[(PIECES - 1) * PIECE_WORDS + i] = last(rest[0][i]) >> 16 | last(rest[1][i]);
    }
}

/// The nearest bf16, ties to even, as the upper half of a word. A NaN stays one.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (if x.is_nan() { bits | 0x0040_0000 } else { rounded }) & 0xffff_0000
}

/// The nearest bf16, ties away from zero, as the upper half of a word. It may lose a NaN.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    truncated(f32::from_bits(x.to_bits().wrapping_add(0x8000)))
}

/// The nearest bf16 towards zero.
#[inline(always)]
pub(crate) fn truncated(x: f32) -> u32 {
    x.to_bits() & 0xffff_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::InstructionSet;

    /// The pieces of 16 numbers, from the largest on.
    fn pieces<const PIECES: usize>(numbers: &[f32], upper_half: impl Fn(f32) -> u32) -> [Vec<f32>; PIECES] {
        let mut out = [0; chunk_words(EXACT)];
        split::<PIECES>(numbers, &[0.0; TILE], &mut out, upper_half);
        std::array::from_fn(|piece| {
            out[piece * PIECE_WORDS..][..TILE].iter().map(|word| f32::from_bits(word << 16)).collect()
        })
    }

    #[test]
    fn pieces_sum_up_to_the_number() {
        let bits = |i: u32| 0x2f80_0000 + i.wrapping_mul(0x9e37_79b9) % 0x2000_0000;
        for start in (0..16_000).step_by(TILE) {
            let numbers: Vec<f32> = (start..).take(TILE).map(|i| f32::from_bits(bits(i) | i << 31)).collect();
            for [a, b, c] in [pieces(&numbers, rounded), pieces(&numbers, truncated)] {
                for (i, &x) in numbers.iter().enumerate() {
                    assert_eq!(a[i] + (b[i] + c[i]), x, "{:e} {:e} {:e}", a[i], b[i], c[i]);
                    assert!(b[i].abs() <= x.abs() / 128.0 && c[i].abs() <= x.abs() / 32768.0, "{x:e}");
                }
            }
        }
    }

    #[test]
    fn one_piece_is_the_nearest_bf16() {
        let bits = |i: u32| i.wrapping_mul(0x9e37_79b9) & if i.is_multiple_of(3) { 0xffff_8000 } else { u32::MAX };
        for start in (0..64_000).step_by(TILE) {
            let numbers: Vec<f32> = (start..).take(TILE).map(|i| f32::from_bits(bits(i))).collect();
            let [got] = pieces::<NEAREST>(&numbers, rounded);
            for (got, &x) in got.iter().zip(&numbers) {
                let expected = half::bf16::from_f32(x).to_f32();
                assert!(got.to_bits() == expected.to_bits() || x.is_nan() && got.is_nan(), "{x:e}: {got:e}");
            }
        }
    }

    #[test]
    fn a_nan_is_never_lost() {
        for bits in [0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff, 0x7f80_0001] {
            let numbers = [f32::from_bits(bits); TILE];
            let (exact, nearest) = (pieces::<EXACT>(&numbers, rounded), pieces::<NEAREST>(&numbers, rounded));
            assert!(exact.iter().any(|piece| piece[0].is_nan()) && nearest[0][0].is_nan(), "{bits:x}");
        }
    }

    /// The product of `[32, depth]` and `[depth, cols]` on tiles, if there are some, added to `out`.
    fn product<const PIECES: usize>(
        a: &[f32],
        b: &[f32],
        depth: usize,
        cols: usize,
        mut out: Vec<f32>,
        adds: bool,
    ) -> Option<Vec<f32>> {
        let isa = InstructionSet::best();
        let session = isa.amx()?.session();
        let mut packed = [LINES, cols].map(|lines| vec![0; packed_words(PIECES, lines, depth)]);
        isa.run(PackRows::<PIECES> { from: a, from_row: depth, lines: LINES, depth, out: &mut packed[0] });
        isa.run(PackColumns::<PIECES> { from: b, width: cols, out: &mut packed[1] });
        let [a, b] = &packed;
        let chunks = depth / DEPTH;
        session.multiply(TileProduct::<PIECES> { a, b, chunks, out: &mut out, out_row: cols, cols, adds });
        Some(out)
    }

    #[test]
    fn products_of_all_pieces_that_matter_are_there() {
        // Two pieces each, `1 + 2^-9`, three, `1 + 2^-9 + 2^-18`, and one: every product is exact, and lacks something unless
        // all of `i + j <= 2` are summed.
        let two = 1.0 + 2f32.powi(-9);
        let three = two + 2f32.powi(-18);
        for (x, y) in [(two, two), (three, 1.0), (1.0, three), (three, -2.0)] {
            for (depth, cols) in [(32, 32), (96, 32), (64, 16)] {
                // Each row of `A` has one number, so that each column of the result has all rows of `B` that it meets.
                let of_row = |row: usize| row * 7 % depth;
                let a: Vec<f32> =
                    (0..LINES * depth).map(|i| if i % depth == of_row(i / depth) { x } else { 0.0 }).collect();
                let b: Vec<f32> = (0..depth * cols).map(|i| y * (1 << (i * 5 % 7)) as f32).collect();
                for adds in [false, true] {
                    let Some(got) = product::<EXACT>(&a, &b, depth, cols, vec![0.5; LINES * cols], adds) else {
                        return;
                    };
                    for (i, got) in got.into_iter().enumerate() {
                        let expected = x * b[of_row(i / cols) * cols + i % cols];
                        let expected = if adds { 0.5 + expected } else { expected };
                        // Adding one half rounds, at each of six products.
                        let tolerance = if adds { 6.0 * 2f32.powi(-24) * expected.abs().max(1.0) } else { 0.0 };
                        assert!((got - expected).abs() <= tolerance, "{depth} {cols} {i}: {got:e} {expected:e}");
                    }
                }
            }
        }
    }
    #[test]
    fn products_of_one_piece_are_those_of_the_nearest_bf16() {
        // Integers of up to eight bits, so that all sums are exact, and a bit of their own for rounding to take away.
        let integers =
            |len: usize, modulus: usize| (0..len).map(|i| (i * 5 % modulus) as f32 - 90.0).collect::<Vec<_>>();
        let off = |values: &[f32]| values.iter().map(|x| x * (1.0 + 2f32.powi(-12))).collect::<Vec<_>>();
        for (depth, cols) in [(32, 32), (96, 32), (64, 16)] {
            let (a, b) = (integers(LINES * depth, 179), integers(depth * cols, 181));
            for adds in [false, true] {
                let out = vec![3.0; LINES * cols];
                let Some(got) = product::<NEAREST>(&off(&a), &off(&b), depth, cols, out, adds) else { return };
                for (i, got) in got.into_iter().enumerate() {
                    let sum: f32 = (0..depth).map(|k| a[i / cols * depth + k] * b[k * cols + i % cols]).sum();
                    assert_eq!(got, if adds { 3.0 + sum } else { sum }, "{depth} {cols} {i}");
                }
            }
        }
    }
}
