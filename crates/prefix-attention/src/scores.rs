//! What happens to a block of scores between the products: soft-capping, the mask, the softmax and its derivative.
//!
//! A block is `[keys, width]`: a row for each key, a column for each query of the tile. So sums over keys run along
//! columns, and no loop here has to combine the lanes of a register. Scores are in units of `ln 2`, for [`exp2`].

use std::f32::consts::LOG2_E;

use device::math::{self, exp2};
use device::simd::{Isa, Kernel};

use crate::tile::ROWS;

/// Scores from products of queries as they are: times [`crate::forward::score_factor`].
pub(crate) struct Scale<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) factor: f32,
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.scores.iter_mut().for_each(|s| *s *= self.factor);
    }
}

/// `s = softcap * log2 e * tanh(s)`, for scores that were scaled by `softmax_scale / softcap`.
pub(crate) struct Softcap<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) softcap: f32,
}

impl Kernel for Softcap<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let bound = self.softcap * LOG2_E;
        for s in self.scores {
            *s = bound * math::tanh::<I>(*s);
        }
    }
}

/// Hides keys: `s = -inf` for keys outside of `[first, end)` of their query.
pub(crate) struct Mask<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) width: usize,
    /// By query, relative to the block's first key.
    pub(crate) first: &'a [i32; ROWS],
    /// As `first`.
    pub(crate) end: &'a [i32; ROWS],
}

impl Kernel for Mask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (key, scores) in self.scores.chunks_exact_mut(self.width).enumerate() {
            let key = key as i32;
            for ((s, &first), &end) in scores.iter_mut().zip(self.first).zip(self.end) {
                *s = if first <= key && key < end { *s } else { f32::NEG_INFINITY };
            }
        }
    }
}

/// The running softmax of a tile's queries: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax".
pub(crate) struct Softmax {
    /// Largest score so far, or a little less: what the others are taken relative to.
    pub(crate) max: [f32; ROWS],
    /// Sum of `2^(s - max)` so far.
    pub(crate) sum: [f32; ROWS],
    /// Factor of what was accumulated before the last block.
    pub(crate) rescale: [f32; ROWS],
}

impl Softmax {
    pub(crate) fn new() -> Self {
        Self { max: [f32::NEG_INFINITY; ROWS], sum: [0.0; ROWS], rescale: [0.0; ROWS] }
    }

    /// Raises the maximum of each column to that of a block `[keys, width]`, if it is more than `slack` above it; rescales the
    /// sum, and returns what to subtract from the scores.
    #[inline(always)]
    pub(crate) fn raise<I: Isa, const WIDTH: usize>(&mut self, rows: &[[f32; WIDTH]], slack: f32) -> [f32; ROWS] {
        // A copy, which the compiler knows to be apart from the scores.
        let mut max = self.max;
        for row in rows {
            for i in 0..WIDTH {
                max[i] = if row[i] > max[i] { row[i] } else { max[i] };
            }
        }
        for (max, &old) in max.iter_mut().zip(&self.max) {
            *max = if *max > old + slack { *max } else { old };
        }
        // Where no key was visible yet the maximum is -inf; any finite number in its place gives 2^-inf = 0.
        let shift = max.map(|m| if m == f32::NEG_INFINITY { 0.0 } else { m });
        for (i, shift) in shift.iter().enumerate().take(WIDTH) {
            self.rescale[i] = exp2::<I>(self.max[i] - shift);
            self.sum[i] *= self.rescale[i];
        }
        self.max = max;
        shift
    }
}

/// Takes a block into the running softmax and replaces its scores by `2^(s - max)`.
pub(crate) struct Absorb<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) width: usize,
    pub(crate) softmax: &'a mut Softmax,
}

impl Kernel for Absorb<'_> {
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

impl Absorb<'_> {
    #[inline(always)]
    fn absorb<I: Isa, const WIDTH: usize>(self) {
        let rows = self.scores.as_chunks_mut::<WIDTH>().0;
        let shift = self.softmax.raise::<I, WIDTH>(rows, 0.0);
        // A copy, which the compiler knows to be apart from the scores.
        let mut sum = self.softmax.sum;
        for row in rows {
            for i in 0..WIDTH {
                row[i] = exp2::<I>(row[i] - shift[i]);
                sum[i] += row[i];
            }
        }
        self.softmax.sum = sum;
    }
}

/// From scores and `dP` to probabilities and the gradients of the scores: `p = 2^(s - lse)`, `ds = p (dp - delta)`, and
/// with soft-capping `ds = p (dp - delta) (1 - (s / (softcap log2 e))^2)`. Both arrays are overwritten.
pub(crate) struct Differentiate<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) grads: &'a mut [f32],
    pub(crate) width: usize,
    /// By query, in units of `ln 2`; infinite for a query that sees nothing.
    pub(crate) lse: &'a [f32; ROWS],
    /// By query: `sum_c o[c] do[c]`, which is `sum_j p_j dp_j`.
    pub(crate) delta: &'a [f32; ROWS],
    pub(crate) softcap: Option<f32>,
}

impl Kernel for Differentiate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.width {
            16 => self.differentiate::<I, 16>(),
            32 => self.differentiate::<I, 32>(),
            48 => self.differentiate::<I, 48>(),
            _ => self.differentiate::<I, 64>(),
        }
    }
}

impl Differentiate<'_> {
    #[inline(always)]
    fn differentiate<I: Isa, const WIDTH: usize>(self) {
        // Copies, which the compiler knows to be apart from the scores.
        let (lse, delta) = (*self.lse, *self.delta);
        let inverse = self.softcap.map_or(0.0, |cap| 1.0 / (cap * LOG2_E));
        let rows = self.scores.as_chunks_mut::<WIDTH>().0.iter_mut().zip(self.grads.as_chunks_mut::<WIDTH>().0);
        for (scores, grads) in rows {
            for i in 0..WIDTH {
                let p = exp2::<I>(scores[i] - lse[i]);
                let tanh = scores[i] * inverse;
                let slope = 1.0 - tanh * tanh;
                // A hidden score is -inf, and its slope with it; p is 0 there.
                let slope = if slope > 0.0 { slope } else { 0.0 };
                grads[i] = p * (grads[i] - delta[i]) * if self.softcap.is_some() { slope } else { 1.0 };
                scores[i] = p;
            }
        }
    }
}
