//! What became of the rows.

use serde::{Deserialize, Serialize};

/// Counts over all rows of a file. Nothing that was left out, cut or changed goes unreported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Rows read.
    pub rows: usize,
    /// Examples made of them.
    pub examples: usize,
    /// Tokens of all examples, those of a decoder beside its encoder's too.
    pub tokens: u64,
    /// Targets: tokens, or classes, that the loss is taken over.
    pub targets: u64,
    /// Tokens of the longest example, on the longer side of an encoder and a decoder.
    pub longest: usize,
    /// Examples that were cut at the maximum length.
    pub truncated: usize,
    /// Examples with no target at all.
    pub without_targets: usize,
    /// Rows without a single token, which are left out.
    pub empty: usize,
    /// Conversations that became one example for each turn, because their template renders earlier turns differently.
    pub split: usize,
    /// Examples in which one token holds the end of the prompt and the beginning of the completion.
    pub merged: usize,
    /// Examples that teach to stop: one of the model's stop tokens is among their targets. A model trained without any
    /// goes on for ever.
    pub stopping: usize,
}

impl Statistics {
    /// The share of tokens that are trained on, from 0 to 1.
    pub fn target_share(&self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.targets as f64 / self.tokens as f64 }
    }
}
