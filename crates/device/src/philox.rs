//! Philox4x32-10: random numbers that are a pure function of a key and a position.
//!
//! Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". A dropout mask or an initial value does not
//! depend on what was drawn before, so it is the same after a resume, in a recomputed block and on another device.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four random words at `counter` under `key`.
#[inline]
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
    }
    counter
}

/// A stream of random numbers: one for each (seed, step, site). Element `i` is read by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    step: u32,
    site: u32,
}

impl Stream {
    /// The stream of `site` (a module, a parameter, a data epoch) at `step`.
    pub fn new(seed: u64, step: u32, site: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], step, site }
    }

    /// What kernels draw the same words from: the key, and the third and fourth word of the counter.
    pub fn parts(&self) -> ([u32; 2], [u32; 2]) {
        (self.key, [self.step, self.site])
    }

    /// The four words that elements `4 * block .. 4 * block + 4` share.
    #[inline]
    pub fn block(&self, block: u64) -> [u32; 4] {
        philox4x32([block as u32, (block >> 32) as u32, self.step, self.site], self.key)
    }

    /// The random word of element `index`.
    #[inline]
    pub fn word(&self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// Uniform in `[0, 1)` with 24 bits.
    #[inline]
    pub fn uniform(&self, index: u64) -> f32 {
        unit(self.word(index))
    }

    /// Standard normal, by Box and Muller: elements `2 i` and `2 i + 1` share a pair of uniforms.
    pub fn normal(&self, index: u64) -> f32 {
        let words = self.block(index / 4);
        let pair = if index % 4 < 2 { [words[0], words[1]] } else { [words[2], words[3]] };
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(unit(pair[0]))).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(unit(pair[1]));
        (if index.is_multiple_of(2) { radius * angle.cos() } else { radius * angle.sin() }) as f32
    }

    /// Uniform below `bound`, by multiplication (bias below `bound / 2^64`). `bound` must not be 0.
    pub fn below(&self, index: u64, bound: u64) -> u64 {
        let words = self.block(index);
        let wide = u64::from(words[0]) << 32 | u64::from(words[1]);
        ((u128::from(wide) * u128::from(bound)) >> 64) as u64
    }
}

#[inline]
fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // The test vectors published with the paper's code (Random123, kat_vectors, philox4x32 10).
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn moments_of_uniform_and_normal() {
        let stream = Stream::new(7, 1, 2);
        let n = 1 << 16;
        let mean = |f: &dyn Fn(u64) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        // Standard errors at n = 65536 are 0.0011 and 0.0039; the bounds are five of them.
        assert!((mean(&|i| f64::from(stream.uniform(i))) - 0.5).abs() <= 0.0056);
        assert!(mean(&|i| f64::from(stream.normal(i))).abs() <= 0.0196);
        assert!((mean(&|i| f64::from(stream.normal(i)).powi(2)) - 1.0).abs() <= 0.028);
        assert!((0..1000).all(|i| stream.below(i, 7) < 7));
    }
}
