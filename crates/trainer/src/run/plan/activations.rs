//! What the forward pass keeps for the backward pass, and what both need besides.
//!
//! A block keeps, in f32 elements per token:
//!
//! | kept by | elements |
//! |---|---|
//! | the norms, also those of heads | their inputs |
//! | attention | queries, keys, values, its result, one log-sum-exp a head |
//! | the activation of the MLP | its inputs |
//! | a projection with a trainable part | its input and, under LoRA, `x A^T` |
//! | channels with learned factors | their values before |
//! | a bottleneck adapter | its input and what is projected down |

use model::config::{BlockConfig, DecoderConfig, MlpInput, Residual};
use model::{Dimensions, Module, ModuleKind, Modules};

use super::{F32_BYTES, Trained};

/// Logits that the loss computes at a time.
const LOGITS_BYTES: u64 = 32 << 20;
/// The fewest rows of them.
const LOGITS_ROWS: u64 = 32;
/// What a product packs of one operand at a time.
const PACKED_BYTES: u64 = 16 << 20;
/// Intermediate results that live at once where a block runs backward, in widths of the hidden states and of the MLP.
const HIDDEN_AT_ONCE: u64 = 13;
const INTERMEDIATE_AT_ONCE: u64 = 5;

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
    gradient_checkpointing: bool,
) -> Activations {
    let blocks =
        block_activations(&config.block(), config.layers.len(), modules, trained, tokens, gradient_checkpointing);
    let workspace = blocks.workspace + head_bytes(&config.dimensions(), modules, trained, tokens as u64);
    Activations { workspace, ..blocks }
}

/// Of the blocks of a model of any kind.
pub fn block_activations(
    config: &BlockConfig,
    num_layers: usize,
    modules: &Modules,
    trained: &Trained,
    tokens: usize,
    gradient_checkpointing: bool,
) -> Activations {
    let tokens = tokens as u64;
    let hidden = config.hidden_size as u64;
    let blocks = (0..num_layers).map(|layer| block_elements(config, modules, trained, layer));
    let kept =
        if gradient_checkpointing { num_layers as u64 * hidden + blocks.max().unwrap_or(0) } else { blocks.sum() };
    let at_once = at_once(config.hidden_size, config.intermediate_size);
    Activations { saved: tokens * kept * F32_BYTES, workspace: tokens * at_once * F32_BYTES }
}

/// Elements per token of the intermediate results of a block.
pub(super) fn at_once(hidden_size: usize, intermediate_size: usize) -> u64 {
    HIDDEN_AT_ONCE * hidden_size as u64 + INTERMEDIATE_AT_ONCE * intermediate_size as u64
}

/// Elements per token that block `layer` keeps.
fn block_elements(config: &BlockConfig, modules: &Modules, trained: &Trained, layer: usize) -> u64 {
    let (hidden, heads) = (config.hidden_size as u64, config.heads);
    let (query, key) = (heads.query_size() as u64, heads.key_value_size() as u64);
    let attention = 2 * query + 2 * key + heads.num_attention_heads as u64;
    let head_norms = if config.attention.head_norms.is_some() { query + key } else { 0 };
    let norms = match config.residual {
        Residual::Sequential { after_attention, after_mlp, .. } => {
            2 + u64::from(after_attention.is_some()) + u64::from(after_mlp.is_some())
        }
        Residual::Parallel { .. } => 1,
        Residual::PostNorm { .. } => 2,
    };
    let intermediate = config.intermediate_size as u64;
    let activation = match config.mlp.input {
        MlpInput::Plain { .. } => intermediate,
        MlpInput::Gated { .. } | MlpInput::FusedGated { .. } => 2 * intermediate,
    };
    let bottlenecks = trained.bottlenecks[layer] as u64;
    attention + head_norms + norms * hidden + activation + bottlenecks + projections(config, modules, trained, layer)
}

/// Inputs that the projections of block `layer` keep: one for those that share it.
fn projections(config: &BlockConfig, modules: &Modules, trained: &Trained, layer: usize) -> u64 {
    let keeps = |module: &&Module| {
        module.layer == Some(layer) && (trained.ranks[module.id.index()] > 0 || trained.is_trained(module.weight))
    };
    let ranks: usize = modules.iter().filter(keeps).map(|module| trained.ranks[module.id.index()]).sum();
    let (mut inputs, mut elements) = (Vec::new(), ranks as u64);
    for module in modules.iter().filter(keeps) {
        let ModuleKind::Linear { in_features, .. } = module.kind else { continue };
        // The result of attention is kept by attention itself.
        if module.path.ends_with(config.attention.output) {
            continue;
        }
        let is_mlp = module.path.contains("mlp");
        if !inputs.contains(&(is_mlp, in_features)) {
            inputs.push((is_mlp, in_features));
            elements += in_features as u64;
        }
    }
    let in_block = modules.iter().filter(|module| module.layer == Some(layer));
    elements + in_block.map(|module| trained.scaled[module.id.index()] as u64).sum::<u64>()
}

/// The loss: logits of some rows and what their products pack; all logits where the head is adapted.
pub(super) fn head_bytes(config: &Dimensions, modules: &Modules, trained: &Trained, tokens: u64) -> u64 {
    let vocab = config.vocab_size as u64;
    let row = vocab * F32_BYTES;
    let Some(head) = modules.head() else { return 0 };
    if trained.adapts(head.id) {
        return 3 * tokens * row;
    }
    let logits = tokens.min((LOGITS_BYTES / row).max(LOGITS_ROWS)) * row;
    let packed = logits.min(PACKED_BYTES) + (tokens * config.intermediate_size as u64 * F32_BYTES).min(PACKED_BYTES);
    let gradient = if trained.is_trained(head.weight) { vocab * config.hidden_size as u64 * F32_BYTES } else { 0 };
    logits + packed + gradient
}
