//! What happens to a block of scores between the products of tiles: see [`crate::scores`] for that between products of vectors.

use device::math::exp2;
use device::simd::{Isa, Kernel};

use crate::pieces::{DEPTH, TILE, place, split, truncated};
use crate::scores::Softmax;
use crate::tile::ROWS;

/// How far scores may exceed the maximum that they are taken relative to before what was accumulated is rescaled, in units of
/// `ln 2`. After the first block of keys hardly any does, so results are hardly ever read and written only for that; relative
/// to the sum they are as accurate as ever.
const SLACK: f32 = 8.0;

/// Takes a block into the running softmax and packs `2^(s - max)` as columns of pieces.
pub(super) struct AbsorbInPieces<'a, const PIECES: usize> {
    /// `[keys, width]`, whole chunks of keys.
    pub(super) scores: &'a [f32],
    pub(super) width: usize,
    pub(super) softmax: &'a mut Softmax,
    /// Columns `[keys, width]`.
    pub(super) weights: &'a mut [u32],
}

impl<const PIECES: usize> Kernel for AbsorbInPieces<'_, PIECES> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.width {
            16 => self.absorb::<I, 16>(),
            32 => self.absorb::<I, 32>(),
            48 => self.absorb::<I, 48>(),
            _ => self.absorb::<I, 64>(),
        }
    }
}

impl<const PIECES: usize> AbsorbInPieces<'_, PIECES> {
    #[inline(always)]
    fn absorb<I: Isa, const WIDTH: usize>(self) {
        let Self { scores, softmax, weights, .. } = self;
        let rows = scores.as_chunks::<WIDTH>().0;
        let shift = softmax.raise::<I, WIDTH>(rows, SLACK);
        let chunks = rows.as_chunks::<DEPTH>().0;
        // By columns of tiles: their sums stay in registers, and those that the next product begins with are written first.
        for line in (0..WIDTH).step_by(TILE) {
            let shift: [f32; TILE] = std::array::from_fn(|i| shift[line + i]);
            let mut sum: [f32; TILE] = std::array::from_fn(|i| softmax.sum[line + i]);
            for (chunk, rows) in chunks.iter().enumerate() {
                for row in 0..TILE {
                    let mut halves = [[0.0; TILE]; 2];
                    for (half, row) in halves.iter_mut().zip([&rows[row], &rows[row + TILE]]) {
                        for i in 0..TILE {
                            half[i] = exp2::<I>(row[line + i] - shift[i]);
                            sum[i] += half[i];
                        }
                    }
                    let [low, high] = &halves;
                    let weights = &mut weights[place::<PIECES>(chunks.len(), line, chunk, row)..];
                    split::<PIECES>(low, high, weights, truncated);
                }
            }
            softmax.sum[line..][..TILE].copy_from_slice(&sum);
        }
    }
}

/// Multiplies each column of `[rows, width]` by its factor.
pub(super) struct Rescale<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) width: usize,
    pub(super) factors: &'a [f32; ROWS],
}

impl Kernel for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in self.values.chunks_exact_mut(self.width) {
            row.iter_mut().zip(self.factors).for_each(|(x, factor)| *x *= factor);
        }
    }
}
