//! What the last block of a model gives.

use std::ops::Range;
use std::sync::Arc;

use tensor::{Sequences, Tensor, ops};

use crate::{ModelError, Result};

/// Hidden states of packed sequences.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// `[num_tokens + num_sequences * prompt_len, hidden_size]`: the rows of an adapter's prompt stand before those of each
    /// sequence's tokens.
    pub rows: Tensor,
    /// Where the sequences start and end, prompts included.
    pub sequences: Arc<Sequences>,
    /// Rows of the prompt.
    pub prompt_len: usize,
}

impl Hidden {
    /// The row of each sequence that `of` picks between the first, prompt included, and the end: `[num_sequences,
    /// hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::EmptySequence`] for one without a token.
    pub(crate) fn one_each(&self, of: impl Fn(usize, Range<usize>) -> usize) -> Result<Tensor> {
        let row = |(index, rows): (usize, Range<usize>)| {
            if rows.len() > self.prompt_len {
                Ok(of(index, rows) as u32)
            } else {
                Err(ModelError::EmptySequence { index })
            }
        };
        let rows: Arc<[u32]> = self.ranges().enumerate().map(row).collect::<Result<_>>()?;
        Ok(ops::select_rows(&self.rows, &rows)?)
    }

    /// The rows of the tokens, without those of the prompt: `[num_tokens, hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`].
    pub fn tokens(&self) -> Result<Tensor> {
        if self.prompt_len == 0 {
            return Ok(self.rows.clone());
        }
        let rows = self.ranges().flat_map(|rows| rows.start + self.prompt_len..rows.end);
        Ok(ops::select_rows(&self.rows, &rows.map(|row| row as u32).collect())?)
    }

    /// The mean row of each sequence's tokens, `[num_sequences, hidden_size]`: sentence embeddings by mean pooling. A prompt is
    /// not counted.
    ///
    /// # Errors
    /// [`ModelError::Tensor`].
    pub fn mean(&self) -> Result<Tensor> {
        if self.prompt_len == 0 {
            return Ok(ops::mean_rows(&self.rows, &self.sequences)?);
        }
        let prompts = self.prompt_len as u32;
        let starts = self.sequences.cu_seqlens_q();
        let starts: Vec<u32> = starts.iter().zip(0..).map(|(start, index)| start - index * prompts).collect();
        Ok(ops::mean_rows(&self.tokens()?, &Arc::new(Sequences::packed(&starts)?))?)
    }

    /// The rows of each sequence.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.sequences.cu_seqlens_q().windows(2).map(|ends| ends[0] as usize..ends[1] as usize)
    }
}
