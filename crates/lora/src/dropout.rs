//! Inverted dropout of the adapter's input, with a mask that is never stored.

use device::philox::Stream;
use device::simd::{self, Isa, Kernel};
use device::{Buffer, DType, Device, parallel};

use crate::LoraError;

/// Elements that are masked as one piece of work.
const BLOCK: usize = 1 << 14;

/// Drops elements of `x` with a probability and divides the others by the probability of keeping.
///
/// Element `i` of `x` is kept if the uniform number `i` of a counter-based stream is at least the probability. So the
/// backward pass draws the mask again, and a resumed or recomputed step drops the same elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    probability: f32,
    stream: Stream,
}

impl Dropout {
    /// Dropout with `probability`, drawing from `stream`.
    ///
    /// # Errors
    /// [`LoraError::Dropout`] if `probability` is not in `[0, 1)`.
    pub fn new(probability: f32, stream: Stream) -> Result<Self, LoraError> {
        if (0.0..1.0).contains(&probability) {
            Ok(Self { probability, stream })
        } else {
            Err(LoraError::Dropout { probability })
        }
    }

    /// Whether it drops nothing.
    pub fn is_identity(&self) -> bool {
        self.probability == 0.0
    }

    /// The random numbers that it compares.
    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// An element is kept if the upper 24 bits of its random word are at least this. A uniform is these bits times 2^-24;
    /// both that and the product here are exact, so comparing the integers is comparing the uniform.
    pub(crate) fn threshold(&self) -> u32 {
        (self.probability * 16_777_216.0).ceil() as u32
    }

    /// `1 / (1 - p)`, what kept elements are multiplied with.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }

    /// `mask / (1 - p) * x`. It is its own gradient: that of `y` gives that of `x`.
    ///
    /// # Errors
    /// [`LoraError::Device`] if there is no memory.
    pub fn apply(&self, x: &[f32]) -> Result<Buffer, LoraError> {
        let mut out = Buffer::scratch(Device::Cpu, DType::F32, x.len())?;
        parallel::rows_mut(out.f32_mut()?, 1, BLOCK, |start, out| {
            self.masked(start, &x[start..][..out.len()], out, |x, _| x);
        });
        Ok(out)
    }

    /// `out += mask / (1 - p) * x`.
    pub(crate) fn apply_add(&self, x: &[f32], out: &mut [f32]) {
        parallel::rows_mut(out, 1, BLOCK, |start, out| {
            self.masked(start, &x[start..][..out.len()], out, |x, old| x + old);
        });
    }

    /// `out = join(mask / (1 - p) * x, out)` for elements from `start` on.
    fn masked(&self, start: usize, x: &[f32], out: &mut [f32], join: impl Fn(f32, f32) -> f32) {
        simd::dispatch(Masked { dropout: self, start, x, out, join });
    }
}

struct Masked<'a, J> {
    dropout: &'a Dropout,
    start: usize,
    x: &'a [f32],
    out: &'a mut [f32],
    join: J,
}

impl<J: Fn(f32, f32) -> f32> Kernel for Masked<'_, J> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        /// Philox blocks that are drawn together, so that they share vector registers.
        const BLOCKS: usize = 16;
        debug_assert_eq!(self.start % 4, 0, "work is split at whole philox blocks");
        let stream = self.dropout.stream;
        let (threshold, scale) = (self.dropout.threshold(), self.dropout.scale());
        let pieces = self.x.chunks(4 * BLOCKS).zip(self.out.chunks_mut(4 * BLOCKS));
        for (piece, (x, out)) in pieces.enumerate() {
            let first = (self.start / 4 + piece * BLOCKS) as u64;
            let mut factors = [0.0; 4 * BLOCKS];
            for (block, factors) in factors.chunks_exact_mut(4).enumerate() {
                for (factor, word) in factors.iter_mut().zip(stream.block(first + block as u64)) {
                    *factor = if word >> 8 >= threshold { scale } else { 0.0 };
                }
            }
            for ((out, x), factor) in out.iter_mut().zip(x).zip(factors) {
                *out = (self.join)(factor * x, *out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_the_uniform_says_and_scales_it() {
        let stream = Stream::new(11, 2, 5);
        // More than one piece of work, and a length that ends within a philox block.
        let x: Vec<f32> = (0..BLOCK + 517).map(|i| 1.0 + i as f32).collect();
        for p in [0.0, 0.1, 0.5, 0.999] {
            let dropout = Dropout::new(p, stream).unwrap();
            let scale = 1.0 / (1.0 - p);
            let expected = |i: usize| if stream.uniform(i as u64) >= p { scale * x[i] } else { 0.0 };
            let got = dropout.apply(&x).unwrap();
            assert!(got.f32().unwrap().iter().enumerate().all(|(i, &y)| y == expected(i)), "p = {p}");
            let mut sum = vec![2.0; x.len()];
            dropout.apply_add(&x, &mut sum);
            assert!(sum.iter().enumerate().all(|(i, &y)| y == expected(i) + 2.0), "p = {p}");
        }
    }

    #[test]
    fn probabilities_outside_are_refused() {
        for p in [1.0, -0.1, f32::NAN, f32::INFINITY] {
            assert!(matches!(Dropout::new(p, Stream::new(0, 0, 0)), Err(LoraError::Dropout { .. })));
        }
    }
}
