//! A bias added to the scores that depends on how far a key stands from its query: `s_ij = softmax_scale q_i . k_j +
//! table[bucket(j - i), head]`.
//!
//! Query `i` of a sequence stands at position `i + kv_len - q_len` among the sequence's own keys; a prefix stands before
//! them, key `c` of `prefix_len` at position `c - prefix_len`.
//!
//! Source: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer",
//! section 2.1.

mod buckets;
mod differences;

pub use buckets::RelativeBuckets;
pub(crate) use differences::{AddBias, Bias, Differences, Expanded, SumBias};

use crate::{AttentionError, AttentionShape};

/// A learned bias for each head and bucket of relative positions.
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    /// `[num_buckets, num_heads]`.
    pub table: &'a [f32],
    /// Which relative positions share a row of the table.
    pub buckets: RelativeBuckets,
}

impl RelativeBias<'_> {
    pub(crate) fn check(&self, shape: &AttentionShape<'_>) -> Result<(), AttentionError> {
        let (expected, got) = (self.buckets.num_buckets() * shape.spec().num_heads, self.table.len());
        if expected != got {
            return Err(AttentionError::Length { argument: "bias.table", expected, got });
        }
        check_scores(shape)
    }
}

/// Refuses a bias on scores that are bounded.
pub(crate) fn check_scores(shape: &AttentionShape<'_>) -> Result<(), AttentionError> {
    match shape.spec().softcap {
        Some(softcap) => Err(AttentionError::BiasWithSoftcap { softcap }),
        None => Ok(()),
    }
}
