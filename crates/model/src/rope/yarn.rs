//! YaRN: long waves are interpolated, short ones extrapolated, with a linear ramp over the channel pairs between them.
//!
//! ```text
//! d(r) = dim * ln(trained / (2 pi r)) / (2 ln theta)        the channel pair whose wave fits r times into the trained text
//! ramp[j] = clamp((j - d(beta_fast)) / (d(beta_slow) - d(beta_fast)), 0, 1)
//! inv_freq[j] = ramp[j] / (factor * theta^(2j / dim)) + (1 - ramp[j]) / theta^(2j / dim)
//! attention factor = 0.1 ln(factor) + 1
//! ```
//!
//! Source: Peng et al. 2023, "YaRN: efficient context window extension of large language models".

use std::f64::consts::TAU;

use super::Frequencies;
use super::default::powers;
use crate::Result;
use crate::config::Keys;

/// Interpolation by parts, with a factor on attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// By how much the longest waves are stretched.
    pub factor: f64,
    /// Factor of cosines and sines.
    pub attention_factor: f64,
    /// Waves that fit the trained length more often than this are left alone.
    pub beta_fast: f64,
    /// Waves that fit it fewer times than this are stretched in full.
    pub beta_slow: f64,
    /// Whether the ends of the ramp are rounded outwards to whole channel pairs.
    pub truncate: bool,
    /// The trained length.
    pub original_max_position_embeddings: usize,
}

impl Yarn {
    pub(super) fn read(keys: &Keys<'_>, max_position_embeddings: usize, original: usize) -> Result<Self> {
        let factor = match keys.optional_positive("factor")? {
            Some(factor) => factor,
            None => max_position_embeddings as f64 / original as f64,
        };
        // Zero means "not given" for these two, as it does in transformers.
        let mscale = |key| keys.optional_number(key).map(|m| m.filter(|&m| m != 0.0));
        let attention_factor = match (keys.optional_positive("attention_factor")?, mscale("mscale")?) {
            (Some(factor), _) => factor,
            (None, Some(scale)) => match mscale("mscale_all_dim")? {
                Some(all) => attention_scale(factor, scale) / attention_scale(factor, all),
                None => attention_scale(factor, 1.0),
            },
            (None, None) => attention_scale(factor, 1.0),
        };
        Ok(Self {
            factor,
            attention_factor,
            beta_fast: keys.positive("beta_fast", 32.0)?,
            beta_slow: keys.positive("beta_slow", 1.0)?,
            truncate: keys.flag("truncate", true)?,
            original_max_position_embeddings: original,
        })
    }

    pub(super) fn frequencies(&self, theta: f64, dim: usize) -> Frequencies {
        let (low, high) = self.ramp(theta, dim);
        let factor = self.factor as f32;
        let inv_freq = powers(theta, dim)
            .enumerate()
            .map(|(j, power)| {
                let kept = 1.0 - ((j as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                1.0 / (factor * power) * (1.0 - kept) + 1.0 / power * kept
            })
            .collect();
        Frequencies { inv_freq, attention_factor: self.attention_factor as f32 }
    }

    /// The channel pairs between which the ramp rises.
    fn ramp(&self, theta: f64, dim: usize) -> (f64, f64) {
        let trained = self.original_max_position_embeddings as f64;
        let pair = |turns: f64| dim as f64 * (trained / (turns * TAU)).ln() / (2.0 * theta.ln());
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
        // A ramp of no width would divide by zero.
        (low, if low == high { high + 0.001 } else { high })
    }
}

/// `0.1 mscale ln(factor) + 1`: how much sharper attention has to be at `factor` times the length.
fn attention_scale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_separates_short_waves_from_long_ones() {
        let yarn = Yarn {
            factor: 4.0,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_position_embeddings: 4096,
        };
        // 128 * ln(4096 / (32 * 2 pi)) / (2 ln 10000) = 20.9 and, for one turn, 45.03.
        assert_eq!(yarn.ramp(10000.0, 128), (20.0, 46.0));
        let frequencies = yarn.frequencies(10000.0, 128).inv_freq;
        let plain: Vec<f32> = powers(10000.0, 128).map(|p| 1.0 / p).collect();
        assert_eq!(frequencies[..=20], plain[..=20]);
        assert_eq!(frequencies[46], plain[46] / 4.0);
        assert!(frequencies[33] < plain[33] && frequencies[33] > plain[33] / 4.0);
    }

    #[test]
    fn a_ramp_of_no_width_is_a_step() {
        let yarn = Yarn {
            factor: 2.0,
            attention_factor: 1.0,
            beta_fast: 1.0,
            beta_slow: 1.0,
            truncate: false,
            original_max_position_embeddings: 1,
        };
        let inv_freq = yarn.frequencies(10000.0, 4).inv_freq;
        assert!(inv_freq.iter().all(|f| f.is_finite()), "{inv_freq:?}");
    }
}
