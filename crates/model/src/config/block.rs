//! What the blocks of a model are built from, whatever kind of model it is.

use super::{AttentionConfig, Heads, MlpConfig, NormConfig, Residual};

/// In what the blocks of one model differ from those of another.
#[derive(Clone, Copy, Debug)]
pub struct BlockConfig {
    /// Elements of a token's hidden state.
    pub hidden_size: usize,
    /// Elements between the two products of an MLP.
    pub intermediate_size: usize,
    /// Heads of attention.
    pub heads: Heads,
    /// The norms.
    pub norm: NormConfig,
    /// How a block puts its parts together.
    pub residual: Residual,
    /// Projections of attention.
    pub attention: AttentionConfig,
    /// Projections of the MLP.
    pub mlp: MlpConfig,
    /// Whether queries and keys are rotated.
    pub rotary: bool,
    /// Whether a token sees those before it alone.
    pub causal: bool,
}
