//! How the output of a part of a block joins the hidden states.

use tensor::{Result, Tensor, ops};

/// A norm of the base.
pub type NormFn<'a> = dyn Fn(&Tensor) -> Result<Tensor> + 'a;

/// `norm(residual + output)`, without the norm in most models. All tensors are `[num_tokens, hidden_size]`.
#[derive(Clone, Copy)]
pub struct Join<'a> {
    /// What the part computed.
    pub output: &'a Tensor,
    /// The hidden states that the part was given, before the norm of a block that has one there.
    pub input: &'a Tensor,
    /// What the output is added to: the input, or in a block whose parts stand side by side (GPT-NeoX) the input with the
    /// other part's output.
    pub residual: &'a Tensor,
    /// The norm of the sum, in blocks that have it there (BERT).
    pub norm: Option<&'a NormFn<'a>>,
}

impl Join<'_> {
    /// The sum, normed where the block does so, with `output` in the place of the part's own.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn finish(&self, output: &Tensor) -> Result<Tensor> {
        self.normed(&ops::add(self.residual, output)?)
    }

    /// The block's norm of `x`, or `x` where there is none.
    ///
    /// # Errors
    /// Those of the op.
    pub fn normed(&self, x: &Tensor) -> Result<Tensor> {
        match self.norm {
            Some(norm) => norm(x),
            None => Ok(x.clone()),
        }
    }
}
