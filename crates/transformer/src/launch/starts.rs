//! Where the sequences of a packed batch lie, on a device.

use device::launch::{DeviceBuffer, Executor};

use crate::{Result, TransformerError};

/// The starts of packed sequences. A kernel cannot refuse starts that do not rise, so they are checked when they are copied.
#[derive(Debug)]
pub struct Starts {
    /// `[num_sequences + 1]` u32
    cu_seqlens: DeviceBuffer,
    num_sequences: usize,
    num_tokens: usize,
}

impl Starts {
    /// Copies `cu_seqlens`, the starts of the sequences and then the number of tokens, to `executor`.
    ///
    /// # Errors
    /// [`TransformerError::Starts`] if they do not rise from 0, [`TransformerError::Device`] without memory.
    pub fn new(executor: &Executor, cu_seqlens: &[u32]) -> Result<Self> {
        let rising = cu_seqlens.first().is_none_or(|&first| first == 0) && cu_seqlens.is_sorted();
        if !rising {
            return Err(TransformerError::Starts { op: "sequences" });
        }
        Ok(Self {
            cu_seqlens: executor.constant(cu_seqlens)?,
            num_sequences: cu_seqlens.len().saturating_sub(1),
            num_tokens: cu_seqlens.last().map_or(0, |&tokens| tokens as usize),
        })
    }

    /// Number of sequences.
    pub fn num_sequences(&self) -> usize {
        self.num_sequences
    }

    /// Tokens of all sequences.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    pub(super) fn buffer(&self) -> &DeviceBuffer {
        &self.cu_seqlens
    }
}
