//! Llama 3.1's scaling: waves longer than the trained text are stretched, short ones stay, those between are blended.
//!
//! ```text
//! s = (trained / wavelength - low) / (high - low)
//! inv_freq' = inv_freq / factor                              trained / wavelength < low
//!           = inv_freq                                       trained / wavelength > high
//!           = (1 - s) * inv_freq / factor + s * inv_freq     otherwise
//! ```
//!
//! Source: Grattafiori et al. 2024, "The Llama 3 herd of models", and the code published with Llama 3.1.

use std::f64::consts::TAU;

use super::Frequencies;
use super::default::inverse_frequencies;
use crate::Result;
use crate::config::Keys;

/// Only low frequencies are stretched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3 {
    /// By how much the longest waves are stretched.
    pub factor: f64,
    /// Waves that fit the trained length fewer times than this are stretched in full.
    pub low_freq_factor: f64,
    /// Waves that fit it more often than this are left alone.
    pub high_freq_factor: f64,
    /// The trained length.
    pub original_max_position_embeddings: usize,
}

impl Llama3 {
    pub(super) fn read(keys: &Keys<'_>, original_max_position_embeddings: usize) -> Result<Self> {
        let required = |key| keys.required_positive(key, "llama3 scaling needs it");
        let factor = required("factor")?;
        let (low_freq_factor, high_freq_factor) = (required("low_freq_factor")?, required("high_freq_factor")?);
        if high_freq_factor <= low_freq_factor {
            return Err(keys.refuse("high_freq_factor", format!("more than low_freq_factor, {low_freq_factor}")));
        }
        Ok(Self { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings })
    }

    pub(super) fn frequencies(&self, theta: f64, dim: usize) -> Frequencies {
        let inv_freq = inverse_frequencies(theta, dim).into_iter().map(|f| self.stretch(f)).collect();
        Frequencies { inv_freq, attention_factor: 1.0 }
    }

    fn stretch(&self, inv_freq: f32) -> f32 {
        let trained = self.original_max_position_embeddings as f64;
        let (low, high) = (self.low_freq_factor, self.high_freq_factor);
        let factor = self.factor as f32;
        let wavelength = TAU as f32 / inv_freq;
        if wavelength > (trained / low) as f32 {
            inv_freq / factor
        } else if wavelength < (trained / high) as f32 {
            inv_freq
        } else {
            let smooth = (trained as f32 / wavelength - low as f32) / (high - low) as f32;
            (1.0 - smooth) * inv_freq / factor + smooth * inv_freq
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_waves_are_stretched_and_short_ones_are_not() {
        let llama3 =
            Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position_embeddings: 64 };
        assert_eq!(llama3.stretch(1.0), 1.0); // wave length 6.3 of 64
        assert_eq!(llama3.stretch(0.01), 0.01 / 8.0); // wave length 628
        // 64 / wave length = 2.5, half way between the factors: the mean of stretched and unstretched.
        let middle = (TAU * 2.5 / 64.0) as f32;
        let expected = (middle + middle / 8.0) / 2.0;
        // A few roundings of f32.
        assert!((llama3.stretch(middle) - expected).abs() <= 1e-6 * expected);
    }
}
