//! The values themselves: prompt tuning, and P-tuning v2.

use std::ops::Range;

use tensor::{Result, Tensor, ops};

use super::{Encoder, PREFIX, next};
use crate::declare::{Declarations, Start};

/// `prompt_embeddings`, trained as they are.
pub(super) struct Embedding(Tensor);

pub(super) fn declare(shape: [usize; 2], start: Start, declarations: &mut Declarations) {
    declarations.add(format!("{PREFIX}embedding.weight"), &shape, start);
}

impl Embedding {
    pub(super) fn build(leaves: &mut dyn Iterator<Item = Tensor>) -> Self {
        Self(next(leaves))
    }
}

impl Encoder for Embedding {
    fn forward(&self) -> Result<Tensor> {
        Ok(self.0.clone())
    }

    fn columns(&self, columns: Range<usize>) -> Result<Tensor> {
        ops::columns(&self.0, &[columns].into())
    }
}
