//! `nn.Linear` with its bias.

use std::ops::Range;

use tensor::{Layout, Result, Tensor, Weight, ops};

use super::{PREFIX, next};
use crate::declare::{Declarations, Start};

/// A linear layer, `[in, out]` from `[out, in]` weights.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

/// Declares `name` of these sizes, started as PyTorch does: uniform in `+-1/sqrt(in)`.
pub(super) fn declare(name: &str, [input, output]: [usize; 2], declarations: &mut Declarations) {
    declare_at(name, [input, output], Start::Uniform(1.0 / (input as f32).sqrt()), declarations);
}

/// Declares `name` of these sizes.
pub(super) fn declare_at(name: &str, [input, output]: [usize; 2], start: Start, declarations: &mut Declarations) {
    declarations.add(format!("{PREFIX}{name}.weight"), &[output, input], start);
    declarations.add(format!("{PREFIX}{name}.bias"), &[output], start);
}

impl Linear {
    pub(super) fn build(leaves: &mut dyn Iterator<Item = Tensor>) -> Self {
        Self { weight: next(leaves), bias: next(leaves) }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &Weight::dense(self.weight.clone(), Layout::OutIn)?, Some(&self.bias))
    }

    /// Some of the outputs.
    pub(super) fn outputs(&self, x: &Tensor, outputs: Range<usize>) -> Result<Tensor> {
        let weight = ops::slice_rows(&self.weight, outputs.clone())?;
        ops::linear(x, &Weight::dense(weight, Layout::OutIn)?, Some(&ops::slice_rows(&self.bias, outputs)?))
    }
}
