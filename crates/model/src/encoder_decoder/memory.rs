//! The encoder's output, as the decoder sees it.

use std::sync::Arc;

use tensor::{Result, Sequences, Tensor};

use crate::parts::Scope;

/// Encoded texts.
#[derive(Clone)]
pub(super) struct Memory {
    /// Hidden states after the encoder's last norm, `[num_tokens, hidden_size]`.
    pub(super) hidden: Tensor,
    /// The pass that computed them.
    pub(super) scope: Scope,
}

impl Memory {
    /// The sequences of a decoder's queries, each with the tokens of its own encoded text as keys.
    pub(super) fn seen_by(&self, decoder: &Sequences) -> Result<Arc<Sequences>> {
        let encoder = &self.scope.context.sequences;
        Ok(Arc::new(Sequences::cached(decoder.cu_seqlens_q(), encoder.cu_seqlens_q())?))
    }
}
