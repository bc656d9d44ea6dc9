//! LongRoPE: a stretch of its own for every frequency, one set for short texts and one for long ones.
//!
//! ```text
//! inv_freq[j] = 1 / (factor[j] * theta^(2j / dim))
//! attention factor = sqrt(1 + ln(ratio) / ln(trained))       ratio = max_position_embeddings / trained, if above 1
//! ```
//!
//! Source: Ding et al. 2024, "LongRoPE: extending LLM context window beyond 2 million tokens".

use super::Frequencies;
use super::default::powers;
use crate::Result;
use crate::config::Keys;

/// Two searched sets of stretches.
#[derive(Clone, Debug, PartialEq)]
pub struct Longrope {
    /// For sequences up to the trained length, one for each channel pair.
    pub short_factor: Vec<f64>,
    /// For longer ones.
    pub long_factor: Vec<f64>,
    /// Factor of cosines and sines.
    pub attention_factor: f64,
    /// The trained length.
    pub original_max_position_embeddings: usize,
}

impl Longrope {
    pub(super) fn read(keys: &Keys<'_>, dim: usize, max_position_embeddings: usize, original: usize) -> Result<Self> {
        let pairs = dim.div_ceil(2);
        let factors = |key| {
            let factors = keys.numbers(key)?.ok_or_else(|| keys.missing(key, "longrope scaling needs it"))?;
            if factors.len() != pairs || factors.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
                return Err(keys.refuse(key, format!("{pairs} numbers above 0, one for each rotated pair of channels")));
            }
            Ok(factors)
        };
        let ratio = match keys.optional_positive("factor")? {
            Some(factor) => factor,
            None => max_position_embeddings as f64 / original as f64,
        };
        let attention_factor = match keys.optional_positive("attention_factor")? {
            Some(factor) => factor,
            None if ratio <= 1.0 => 1.0,
            None if original == 1 => {
                return Err(keys.refuse("original_max_position_embeddings", "a length above 1"));
            }
            None => (1.0 + ratio.ln() / (original as f64).ln()).sqrt(),
        };
        Ok(Self {
            short_factor: factors("short_factor")?,
            long_factor: factors("long_factor")?,
            attention_factor,
            original_max_position_embeddings: original,
        })
    }

    pub(super) fn frequencies(&self, theta: f64, dim: usize, length: usize) -> Frequencies {
        let long = length > self.original_max_position_embeddings;
        let factors = if long { &self.long_factor } else { &self.short_factor };
        let inv_freq = powers(theta, dim).zip(factors).map(|(power, &factor)| 1.0 / (factor as f32 * power)).collect();
        Frequencies { inv_freq, attention_factor: self.attention_factor as f32 }
    }
}
