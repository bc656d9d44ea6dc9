//! P-tuning's LSTM: `W2 relu(W0 lstm(e) + b0) + b2`, where the LSTM reads the embeddings `e` one after another, in both
//! directions, in some layers.

use tensor::{Activation, Layout, Result, Tensor, Weight, ops};

use super::linear::{self, Linear};
use super::{Encoder, PREFIX, next};
use crate::declare::{Declarations, Start};

/// `lstm_head` and `mlp_head`.
pub(super) struct Lstm {
    embedding: Tensor,
    /// Both directions of every layer.
    layers: Vec<[Direction; 2]>,
    head: [Linear; 2],
}

/// One direction of one layer.
struct Direction {
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    reverse: bool,
}

pub(super) fn declare([rows, dim]: [usize; 2], size: usize, num_layers: usize, declarations: &mut Declarations) {
    declarations.add(format!("{PREFIX}embedding.weight"), &[rows, dim], Start::Normal(1.0));
    let start = Start::Uniform(1.0 / (size as f32).sqrt());
    for layer in 0..num_layers {
        let input = if layer == 0 { dim } else { 2 * size };
        for suffix in ["", "_reverse"] {
            let mut add = |name: &str, shape: &[usize]| {
                declarations.add(format!("{PREFIX}lstm_head.{name}_l{layer}{suffix}"), shape, start);
            };
            add("weight_ih", &[4 * size, input]);
            add("weight_hh", &[4 * size, size]);
            add("bias_ih", &[4 * size]);
            add("bias_hh", &[4 * size]);
        }
    }
    linear::declare("mlp_head.0", [2 * size, 2 * size], declarations);
    linear::declare("mlp_head.2", [2 * size, dim], declarations);
}

impl Lstm {
    pub(super) fn build(leaves: &mut dyn Iterator<Item = Tensor>, num_layers: usize) -> Self {
        let embedding = next(leaves);
        let layers = (0..num_layers).map(|_| [false, true].map(|reverse| Direction::build(leaves, reverse))).collect();
        Self { embedding, layers, head: [0, 2].map(|_| Linear::build(leaves)) }
    }
}

impl Encoder for Lstm {
    fn forward(&self) -> Result<Tensor> {
        let mut x = self.embedding.clone();
        for [forward, backward] in &self.layers {
            x = ops::concat_columns(&forward.forward(&x)?, &backward.forward(&x)?)?;
        }
        let [first, second] = &self.head;
        second.forward(&ops::activation(&first.forward(&x)?, Activation::Relu)?)
    }
}

impl Direction {
    fn build(leaves: &mut dyn Iterator<Item = Tensor>, reverse: bool) -> Self {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = [0; 4].map(|_| next(leaves));
        Self { weight_ih, weight_hh, bias_ih, bias_hh, reverse }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = ops::add(&self.bias_ih, &self.bias_hh)?;
        let input_gates = ops::linear(x, &Weight::dense(self.weight_ih.clone(), Layout::OutIn)?, Some(&bias))?;
        ops::lstm(&input_gates, &self.weight_hh, self.reverse)
    }
}
