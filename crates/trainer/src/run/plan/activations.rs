//! What the forward pass keeps for the backward pass, and what both need besides.
//!
//! A block keeps, per token and in the model's dtype but for what is marked:
//!
//! | kept by | elements |
//! |---|---|
//! | the norms, also those of heads | their inputs, but in f32 not that of the norm between the parts of a block |
//! | attention | queries, keys, its result, one log-sum-exp a head (f32); values, but not in f32 |
//! | the activation of the MLP | its inputs, in f32 that of the gate alone |
//! | LoRA | `x A^T` (f32) |
//! | channels with learned factors | their values before |
//! | a bottleneck adapter | its input and what is projected down |
//!
//! Inputs of projections with a trainable part are results of norms and activations, which backward computes again, or of
//! attention, which keeps it.

use device::DType;
use model::config::{BlockConfig, DecoderConfig, MlpInput, Projection, Residual};
use model::{Dimensions, Module, Modules};
use tensor::ops;

use super::{F32_BYTES, Trained};

/// What a product packs of one operand at a time.
const PACKED_BYTES: u64 = 8 << 20;
/// Intermediate results that live at once where a block runs backward, in widths of the hidden states and of the MLP.
const HIDDEN_AT_ONCE: u64 = 14;
const INTERMEDIATE_AT_ONCE: u64 = 6;

/// Memory that a pass takes beside parameters, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Activations {
    /// Kept from the forward to the backward pass.
    pub saved: u64,
    /// In use for a while.
    pub workspace: u64,
}

/// Of a decoder over `tokens` tokens, while `trained` is trained.
pub fn decoder_activations(
    config: &DecoderConfig,
    modules: &Modules,
    trained: &Trained,
    tokens: usize,
    keeping: Keeping,
) -> Activations {
    let blocks = block_activations(&config.block(), config.layers.len(), modules, trained, tokens, keeping);
    let workspace = blocks.workspace + head_bytes(&config.dimensions(), modules, trained, tokens as u64, keeping);
    Activations { workspace, ..blocks }
}

/// Of the blocks of a model of any kind.
pub fn block_activations(
    config: &BlockConfig,
    num_layers: usize,
    modules: &Modules,
    trained: &Trained,
    tokens: usize,
    keeping: Keeping,
) -> Activations {
    let tokens = tokens as u64;
    let blocks = (0..num_layers).map(|layer| block_bytes(config, modules, trained, layer, keeping));
    let kept = keeping.of_blocks(blocks, config.hidden_size);
    let at_once = at_once(config.hidden_size, config.intermediate_size);
    Activations { saved: tokens * kept, workspace: tokens * at_once * F32_BYTES }
}

/// How a pass keeps what backward needs.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// What the model computes with.
    pub dtype: DType,
    /// Whether blocks keep their input alone.
    pub gradient_checkpointing: bool,
}

impl Keeping {
    /// Bytes of an activation that is kept.
    pub(super) fn element(self) -> u64 {
        if self.dtype == DType::BF16 { 2 } else { F32_BYTES }
    }

    /// Whether results of products are made again where norms and activations are: on the CPU, unless it is bf16.
    pub(super) fn makes_again(self) -> bool {
        self.dtype != DType::BF16
    }

    /// Bytes per token of blocks that keep `bytes` each. The input of a block that is computed again is kept as it is.
    pub(super) fn of_blocks(self, bytes: impl ExactSizeIterator<Item = u64>, hidden_size: usize) -> u64 {
        match self.gradient_checkpointing {
            true => bytes.len() as u64 * hidden_size as u64 * F32_BYTES + bytes.max().unwrap_or(0),
            false => bytes.sum(),
        }
    }
}

/// Elements per token of the intermediate results of a block.
pub(super) fn at_once(hidden_size: usize, intermediate_size: usize) -> u64 {
    HIDDEN_AT_ONCE * hidden_size as u64 + INTERMEDIATE_AT_ONCE * intermediate_size as u64
}

/// Bytes per token that block `layer` keeps.
fn block_bytes(config: &BlockConfig, modules: &Modules, trained: &Trained, layer: usize, keeping: Keeping) -> u64 {
    let (hidden, heads) = (config.hidden_size as u64, config.heads);
    let (query, key) = (heads.query_size() as u64, heads.key_value_size() as u64);
    // In f32 what a product makes again from a norm, or the sum of hidden states from attention's result, is not kept.
    let makes_again = keeping.makes_again();
    let makes_values = makes_again && matches!(config.attention.projection, Projection::Separate { .. });
    let attention = 2 * query + key + if makes_values { 0 } else { key };
    let head_norms = if config.attention.head_norms.is_some() { query + key } else { 0 };
    let norms = match config.residual {
        Residual::Sequential { after_attention, after_mlp, .. } => {
            let makes_sum = makes_again && trained.bottlenecks[layer] == 0;
            2 - u64::from(makes_sum) + u64::from(after_attention.is_some()) + u64::from(after_mlp.is_some())
        }
        Residual::Parallel { .. } => 1,
        Residual::PostNorm { .. } => 2,
    };
    let intermediate = config.intermediate_size as u64;
    let activation = match config.mlp.input {
        MlpInput::Plain { .. } => intermediate,
        MlpInput::Gated { .. } if makes_again => intermediate,
        MlpInput::Gated { .. } | MlpInput::FusedGated { .. } => 2 * intermediate,
    };
    let bottlenecks = trained.bottlenecks[layer] as u64;
    let scaled = scaled(config, modules, trained, layer);
    let in_dtype = attention + head_norms + norms * hidden + activation + bottlenecks + scaled;
    let in_f32 = heads.num_attention_heads as u64 + trained.ranks_of(modules, layer);
    in_dtype * keeping.element() + in_f32 * F32_BYTES
}

/// Channels of block `layer` that have learned factors. Those of the MLP's activation are computed again.
fn scaled(config: &BlockConfig, modules: &Modules, trained: &Trained, layer: usize) -> u64 {
    let kept = |module: &&Module| module.layer == Some(layer) && !module.path.ends_with(config.mlp.output);
    modules.iter().filter(kept).map(|module| trained.scaled[module.id.index()] as u64).sum()
}

/// The loss: logits of some rows and what their products pack; all logits where the head is adapted.
pub(super) fn head_bytes(
    config: &Dimensions,
    modules: &Modules,
    trained: &Trained,
    tokens: u64,
    keeping: Keeping,
) -> u64 {
    let vocab = config.vocab_size as u64;
    let row = vocab * F32_BYTES;
    let Some(head) = modules.head() else { return 0 };
    if trained.adapts(head.id) {
        return 3 * tokens * row;
    }
    let logits = tokens.min(ops::linear_cross_entropy_rows(config.vocab_size, keeping.dtype) as u64) * row;
    let packed = logits.min(PACKED_BYTES) + (tokens * config.intermediate_size as u64 * F32_BYTES).min(PACKED_BYTES);
    let gradient = if trained.is_trained(head.weight) { vocab * config.hidden_size as u64 * F32_BYTES } else { 0 };
    logits + packed + gradient
}
