//! P-tuning's MLP: `W4 relu(W2 relu(W0 e + b0) + b2) + b4` of every embedding `e`.

use tensor::{Activation, Result, Tensor, ops};

use super::linear::{self, Linear};
use super::{Encoder, PREFIX, next};
use crate::declare::{Declarations, Start};

/// `mlp_head`.
pub(super) struct Mlp {
    embedding: Tensor,
    layers: [Linear; 3],
}

pub(super) fn declare([rows, dim]: [usize; 2], hidden_size: usize, declarations: &mut Declarations) {
    declarations.add(format!("{PREFIX}embedding.weight"), &[rows, dim], Start::Normal(1.0));
    linear::declare("mlp_head.0", [dim, hidden_size], declarations);
    linear::declare("mlp_head.2", [hidden_size, hidden_size], declarations);
    linear::declare("mlp_head.4", [hidden_size, dim], declarations);
}

impl Mlp {
    pub(super) fn build(leaves: &mut dyn Iterator<Item = Tensor>) -> Self {
        Self { embedding: next(leaves), layers: [0, 2, 4].map(|_| Linear::build(leaves)) }
    }
}

impl Encoder for Mlp {
    fn forward(&self) -> Result<Tensor> {
        let [first, second, third] = &self.layers;
        let x = ops::activation(&first.forward(&self.embedding)?, Activation::Relu)?;
        let x = ops::activation(&second.forward(&x)?, Activation::Relu)?;
        third.forward(&x)
    }
}
