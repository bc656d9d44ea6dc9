//! The MLP of prefix tuning: `W2 tanh(W0 e + b0) + b2` of every embedding `e`.

use std::ops::Range;

use tensor::{Activation, Result, Tensor, ops};

use super::linear::{self, Linear};
use super::{Encoder, PREFIX, next};
use crate::declare::{Declarations, Start};

/// `transform`.
pub(super) struct Projection {
    embedding: Tensor,
    hidden: Linear,
    output: Linear,
}

pub(super) fn declare(
    [rows, token_dim, hidden_size, columns]: [usize; 4],
    zero: bool,
    declarations: &mut Declarations,
) {
    declarations.add(format!("{PREFIX}embedding.weight"), &[rows, token_dim], Start::Normal(1.0));
    linear::declare("transform.0", [token_dim, hidden_size], declarations);
    let output = [hidden_size, columns];
    match zero {
        true => linear::declare_at("transform.2", output, Start::Zeros, declarations),
        false => linear::declare("transform.2", output, declarations),
    }
}

impl Projection {
    pub(super) fn build(leaves: &mut dyn Iterator<Item = Tensor>) -> Self {
        Self { embedding: next(leaves), hidden: Linear::build(leaves), output: Linear::build(leaves) }
    }

    fn hidden(&self) -> Result<Tensor> {
        ops::activation(&self.hidden.forward(&self.embedding)?, Activation::Tanh)
    }
}

impl Encoder for Projection {
    fn forward(&self) -> Result<Tensor> {
        self.output.forward(&self.hidden()?)
    }

    /// Each block computes its own part of the last product, which is all but a little of the work.
    fn columns(&self, columns: Range<usize>) -> Result<Tensor> {
        self.output.outputs(&self.hidden()?, columns)
    }
}
