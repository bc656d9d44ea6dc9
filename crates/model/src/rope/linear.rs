//! Linear scaling, or position interpolation: `inv_freq[j] = theta^(-2j / dim) / factor`.
//!
//! Source: Chen et al. 2023, "Extending context window of large language models via positional interpolation".

use super::Frequencies;
use super::default::inverse_frequencies;
use crate::Result;
use crate::config::Keys;

/// Positions are divided by a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// By how much texts get longer.
    pub factor: f64,
}

impl Linear {
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self> {
        Ok(Self { factor: keys.required_positive("factor", "linear scaling needs it")? })
    }

    pub(super) fn frequencies(&self, theta: f64, dim: usize) -> Frequencies {
        let factor = self.factor as f32;
        let inv_freq = inverse_frequencies(theta, dim).iter().map(|f| f / factor).collect();
        Frequencies { inv_freq, attention_factor: 1.0 }
    }
}
