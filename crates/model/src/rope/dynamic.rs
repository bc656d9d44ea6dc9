//! Dynamic NTK scaling: beyond the trained length the base grows with the length of the sequence.
//!
//! ```text
//! theta' = theta * (factor * length / trained - (factor - 1))^(dim / (dim - 2))      length > trained
//! ```
//!
//! Source: the method of bloc97 and emozilla, "Dynamically scaled RoPE", 2023.

use super::Frequencies;
use super::default::inverse_frequencies;
use crate::Result;
use crate::config::Keys;

/// The base depends on the length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dynamic {
    /// Strength of the growth.
    pub factor: f64,
    /// The trained length, up to which nothing changes.
    pub max_position_embeddings: usize,
}

impl Dynamic {
    pub(super) fn read(keys: &Keys<'_>, dim: usize, max_position_embeddings: usize) -> Result<Self> {
        if dim <= 2 {
            let name = if keys.has("rope_type") { "rope_type" } else { "type" };
            return Err(
                keys.unsupported(name, format!("dynamic scaling needs more than 2 rotated channels, not {dim}"))
            );
        }
        Ok(Self { factor: keys.required_positive("factor", "dynamic scaling needs it")?, max_position_embeddings })
    }

    pub(super) fn frequencies(&self, theta: f64, dim: usize, length: usize) -> Frequencies {
        let inv_freq = inverse_frequencies(self.base(theta, dim, length), dim);
        Frequencies { inv_freq, attention_factor: 1.0 }
    }

    /// The base at a length: in f32, step by step, as a tensor of one length goes through transformers.
    fn base(&self, theta: f64, dim: usize, length: usize) -> f64 {
        if length <= self.max_position_embeddings {
            return theta;
        }
        let ratio = self.factor as f32 * length as f32 / self.max_position_embeddings as f32;
        let growth = f64::from(ratio - (self.factor - 1.0) as f32);
        let exponent = f64::from((dim as f64 / (dim as f64 - 2.0)) as f32);
        f64::from(theta as f32 * growth.powf(exponent) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_grows_beyond_the_trained_length_only() {
        let dynamic = Dynamic { factor: 2.0, max_position_embeddings: 16 };
        assert_eq!(dynamic.base(10000.0, 4, 16), 10000.0);
        // (2 * 32 / 16 - 1)^(4 / 2) = 9
        assert_eq!(dynamic.base(10000.0, 4, 32), 90000.0);
    }
}
