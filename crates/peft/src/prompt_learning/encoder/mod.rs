//! From trainable values to `prompt_embeddings`.

mod embedding;
mod linear;
mod lstm;
mod mlp;
mod projection;

use std::ops::Range;
use std::sync::Arc;

use tensor::{Result, Tensor, ops};

use crate::declare::{Declarations, Start};

/// What PEFT calls the module that holds an encoder, without the name of the adapter.
pub(super) const PREFIX: &str = "prompt_encoder.";

/// Computes `prompt_embeddings`.
pub(super) trait Encoder: Send + Sync {
    /// All of it.
    fn forward(&self) -> Result<Tensor>;

    /// Some columns of it.
    fn columns(&self, columns: Range<usize>) -> Result<Tensor> {
        ops::columns(&self.forward()?, &[columns].into())
    }
}

/// Which encoder, with its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EncoderSpec {
    /// The values themselves, standard normal at first.
    Embedding,
    /// The values themselves, zero at first.
    Zeros,
    /// [`mlp`].
    Mlp { hidden_size: usize },
    /// [`lstm`].
    Lstm { hidden_size: usize, num_layers: usize },
    /// [`projection`].
    Projection { token_dim: usize, hidden_size: usize, zero: bool },
}

impl EncoderSpec {
    /// Whether something is computed, so that its values are not those of the file.
    pub(super) fn is_computed(&self) -> bool {
        !matches!(self, EncoderSpec::Embedding | EncoderSpec::Zeros)
    }

    /// Declares the values of an encoder of `[rows, columns]`.
    pub(super) fn declare(&self, [rows, columns]: [usize; 2], declarations: &mut Declarations) {
        match *self {
            EncoderSpec::Embedding => embedding::declare([rows, columns], Start::Normal(1.0), declarations),
            EncoderSpec::Zeros => embedding::declare([rows, columns], Start::Zeros, declarations),
            EncoderSpec::Mlp { hidden_size } => mlp::declare([rows, columns], hidden_size, declarations),
            EncoderSpec::Lstm { hidden_size, num_layers } => {
                lstm::declare([rows, columns], hidden_size, num_layers, declarations);
            }
            EncoderSpec::Projection { token_dim, hidden_size, zero } => {
                projection::declare([rows, token_dim, hidden_size, columns], zero, declarations);
            }
        }
    }

    /// The encoder of the values that were made, in the order in which they were declared.
    pub(super) fn build(&self, leaves: &mut dyn Iterator<Item = Tensor>) -> Arc<dyn Encoder> {
        match *self {
            EncoderSpec::Embedding | EncoderSpec::Zeros => Arc::new(embedding::Embedding::build(leaves)),
            EncoderSpec::Mlp { .. } => Arc::new(mlp::Mlp::build(leaves)),
            EncoderSpec::Lstm { num_layers, .. } => Arc::new(lstm::Lstm::build(leaves, num_layers)),
            EncoderSpec::Projection { .. } => Arc::new(projection::Projection::build(leaves)),
        }
    }
}

/// The next of the values that were declared.
fn next(leaves: &mut dyn Iterator<Item = Tensor>) -> Tensor {
    leaves.next().expect("an encoder takes the values that it declared")
}
