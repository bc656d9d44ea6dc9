//! What a parameter-efficient method may change in a frozen model.

use std::sync::Arc;

use tensor::ops::EmbeddingOptions;
use tensor::{Result, Tensor, Weight, ops};

use crate::{Context, Join, ModuleId, ParameterId, ResidualId};

/// One of several projections of the same input.
#[derive(Clone, Debug)]
pub struct Projection<'a> {
    /// The linear module.
    pub id: ModuleId,
    /// As in [`Adapter::linear`].
    pub weight: Weight,
    /// As in [`Adapter::linear`].
    pub bias: Option<&'a Tensor>,
}

/// The hooks through which a method acts on a frozen model. The defaults change nothing, so a method writes only those
/// that it needs. The model itself is never changed: no adapter is [`NoAdapter`], two adapters are two arguments.
///
/// A hook may be called again for the same tokens (gradient checkpointing computes a block twice), so it has to be a
/// function of its arguments: random numbers come from [`Context::dropout`] and a position, not from a generator.
pub trait Adapter: Send + Sync {
    /// A trainable stand-in for a parameter of the base: trained biases and norms, `modules_to_save`, full fine-tuning.
    /// It has the parameter's shape.
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        let _ = id;
        None
    }

    /// Whether [`Adapter::linear`] or [`Adapter::embedding`] does something of its own for this module. A head that is not
    /// adapted is computed together with the loss, without its logits in memory.
    fn adapts(&self, id: ModuleId) -> bool {
        let _ = id;
        false
    }

    /// Factors of the channels of a linear module's input. The model multiplies by them where it makes that input, in the same
    /// pass if it can, before it calls [`Adapter::linear`].
    fn input_scale(&self, id: ModuleId) -> Option<&Tensor> {
        let _ = id;
        None
    }

    /// One projection of `x`, `[num_tokens, in_features]`, which has been multiplied by [`Adapter::input_scale`]. `weight`
    /// and `bias` are those of [`Adapter::parameter`] where it gives some, the base's otherwise. The head is given only the
    /// rows whose logits are wanted, as one sequence.
    ///
    /// # Errors
    /// Those of the ops.
    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        context: &Context,
    ) -> Result<Tensor> {
        let _ = (id, context);
        ops::linear(x, weight, bias)
    }

    /// Several projections of one `x` (q, k and v; gate and up), each as [`Adapter::linear`] has it: as many results, for a
    /// method that computes them in one pass.
    ///
    /// # Errors
    /// Those of the ops.
    fn linears(&self, projections: &[Projection<'_>], x: &Tensor, context: &Context) -> Result<Vec<Tensor>> {
        one_by_one(self, projections, x, context)
    }

    /// The rows `ids` of an embedding table.
    ///
    /// # Errors
    /// Those of the ops.
    fn embedding(
        &self,
        id: ModuleId,
        ids: &Arc<[u32]>,
        table: &Tensor,
        options: EmbeddingOptions,
        context: &Context,
    ) -> Result<Tensor> {
        let _ = (id, context);
        ops::embedding(ids, table, options)
    }

    /// Whether [`Adapter::residual`] does something of its own at this connection.
    fn adapts_residual(&self, id: ResidualId) -> bool {
        let _ = id;
        false
    }

    /// Adds the output of a part of a block to the hidden states: what the next part is given.
    ///
    /// # Errors
    /// Those of the ops.
    fn residual(&self, id: ResidualId, join: Join<'_>, context: &Context) -> Result<Tensor> {
        let _ = (id, context);
        join.finish(join.output)
    }

    /// What is added to the pixel values of every image, `[num_channels, height, width]`.
    ///
    /// # Errors
    /// Those of the ops.
    fn pixels(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Keys and values that the queries of block `layer` see before the tokens' own, `[num_virtual_tokens,
    /// num_key_value_heads * head_dim]` each. They are not rotated. Where a block sees a window, they stand in it at the
    /// positions before the first token's.
    ///
    /// # Errors
    /// Those of the ops.
    fn prefix(&self, layer: usize) -> Result<Option<(Tensor, Tensor)>> {
        let _ = layer;
        Ok(None)
    }

    /// Embeddings set before those of every sequence's tokens, `[prompt_len, hidden_size]`. They are not scaled; learned
    /// positions are added to them as to the tokens'.
    ///
    /// # Errors
    /// Those of the ops.
    fn prompt(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Rows of [`Adapter::prompt`]. Hidden states and logits have as many more for each sequence, before those of its tokens.
    fn prompt_len(&self) -> usize {
        0
    }

    /// Positions that come before the first token's: with a prompt or a prefix of P virtual tokens the tokens stand at P,
    /// P + 1, ...
    fn position_offset(&self) -> u32 {
        self.prompt_len() as u32
    }
}

/// The projections by [`Adapter::linear`].
///
/// # Errors
/// Those of the ops.
pub fn one_by_one(
    adapter: &(impl Adapter + ?Sized),
    projections: &[Projection<'_>],
    x: &Tensor,
    context: &Context,
) -> Result<Vec<Tensor>> {
    projections.iter().map(|one| adapter.linear(one.id, x, &one.weight, one.bias, context)).collect()
}

/// The base model as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAdapter;

impl Adapter for NoAdapter {}
