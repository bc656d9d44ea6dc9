//! The tokens of one pass.

use std::sync::Arc;

use tensor::Sequences;

use crate::{ModelError, Result};

/// Sequences side by side, without padding.
#[derive(Clone, Debug)]
pub struct Input {
    /// Token ids, `[num_tokens]`.
    pub input_ids: Arc<[u32]>,
    /// The position of each token in its sequence, `[num_tokens]`.
    pub positions: Arc<[u32]>,
    /// Where the sequences start and end.
    pub sequences: Arc<Sequences>,
    /// The part of the text that each token is in, `[num_tokens]`, for encoders that know parts; `None` means the first.
    pub token_type_ids: Option<Arc<[u32]>>,
}

impl Input {
    /// A packed batch. `cu_seqlens` holds the starts of the sequences, then the number of tokens.
    ///
    /// # Errors
    /// [`ModelError::BatchLength`] if there is not one position for each token or the sequences do not end with the last
    /// one; [`ModelError::Tensor`] if the starts do not rise from 0.
    pub fn packed(input_ids: &[u32], positions: &[u32], cu_seqlens: &[u32]) -> Result<Self> {
        let expected = input_ids.len();
        if positions.len() != expected {
            return Err(ModelError::BatchLength { argument: "positions", expected, got: positions.len() });
        }
        let tokens = cu_seqlens.last().map_or(0, |&n| n as usize);
        if tokens != expected {
            return Err(ModelError::BatchLength { argument: "cu_seqlens", expected, got: tokens });
        }
        Ok(Self {
            input_ids: input_ids.into(),
            positions: positions.into(),
            sequences: Arc::new(Sequences::packed(cu_seqlens)?),
            token_type_ids: None,
        })
    }

    /// Sequences, each with positions from 0.
    ///
    /// # Errors
    /// None for fewer than 2^32 tokens.
    pub fn from_sequences(sequences: &[&[u32]]) -> Result<Self> {
        let positions: Vec<u32> = sequences.iter().flat_map(|s| 0..s.len() as u32).collect();
        let mut cu_seqlens = vec![0];
        let mut end = 0;
        for sequence in sequences {
            end += sequence.len() as u32;
            cu_seqlens.push(end);
        }
        Self::packed(&sequences.concat(), &positions, &cu_seqlens)
    }

    /// The same tokens as parts of texts: `token_type_ids` as a tokenizer gives them, 0 for the first part, 1 for the
    /// second.
    ///
    /// # Errors
    /// [`ModelError::BatchLength`] if there is not one for each token.
    pub fn with_token_type_ids(self, token_type_ids: &[u32]) -> Result<Self> {
        let (expected, got) = (self.num_tokens(), token_type_ids.len());
        if got != expected {
            return Err(ModelError::BatchLength { argument: "token_type_ids", expected, got });
        }
        Ok(Self { token_type_ids: Some(token_type_ids.into()), ..self })
    }

    /// # Errors
    /// [`ModelError::TokenId`] for a token that is not in a vocabulary of `vocab_size`.
    pub(crate) fn check_tokens(&self, vocab_size: usize) -> Result<()> {
        match self.input_ids.iter().position(|&id| id as usize >= vocab_size) {
            Some(index) => Err(ModelError::TokenId { index, id: self.input_ids[index], vocab_size }),
            None => Ok(()),
        }
    }

    /// Number of tokens.
    pub fn num_tokens(&self) -> usize {
        self.input_ids.len()
    }
}
