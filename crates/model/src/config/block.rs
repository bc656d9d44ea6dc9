//! What the blocks of a model are built from, whatever kind of model it is.

use super::{AttentionConfig, Heads, MlpConfig, NormConfig, Residual};

/// In what the blocks of one model differ from those of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockConfig {
    /// Elements of a token's hidden state.
    pub(crate) hidden_size: usize,
    /// Elements between the two products of an MLP.
    pub(crate) intermediate_size: usize,
    /// Heads of attention.
    pub(crate) heads: Heads,
    /// The norms.
    pub(crate) norm: NormConfig,
    /// How a block puts its parts together.
    pub(crate) residual: Residual,
    /// Projections of attention.
    pub(crate) attention: AttentionConfig,
    /// Projections of the MLP.
    pub(crate) mlp: MlpConfig,
    /// Whether queries and keys are rotated.
    pub(crate) rotary: bool,
    /// Whether a token sees those before it alone.
    pub(crate) causal: bool,
}
