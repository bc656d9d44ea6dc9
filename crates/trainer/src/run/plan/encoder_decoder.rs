//! What an encoder-decoder keeps and uses; see [`super::activations`] for what is kept by what.

use model::config::{EncoderDecoderConfig, MlpInput};
use model::{Module, ModuleKind, Modules};

use super::activations::{at_once, head_bytes};
use super::{Activations, F32_BYTES, Trained};

/// Of an encoder-decoder over `tokens` tokens on each side, while `trained` is trained.
pub fn encoder_decoder_activations(
    config: &EncoderDecoderConfig,
    modules: &Modules,
    trained: &Trained,
    tokens: usize,
    gradient_checkpointing: bool,
) -> Activations {
    let (tokens, hidden) = (tokens as u64, config.hidden_size as u64);
    let layers = config.num_layers + config.num_decoder_layers;
    let blocks = (0..layers).map(|layer| block_elements(config, modules, trained, layer));
    // The encoder's output stays for all blocks of the decoder.
    let kept =
        hidden + if gradient_checkpointing { layers as u64 * hidden + blocks.max().unwrap_or(0) } else { blocks.sum() };
    let dimensions = config.dimensions();
    Activations {
        saved: tokens * kept * F32_BYTES,
        workspace: tokens * at_once(config.hidden_size, config.intermediate_size) * F32_BYTES
            + head_bytes(&dimensions, modules, trained, tokens),
    }
}

/// Elements per token that block `layer`, counted through both sides, keeps.
fn block_elements(config: &EncoderDecoderConfig, modules: &Modules, trained: &Trained, layer: usize) -> u64 {
    let (inner, heads) = (config.heads.query_size() as u64, config.heads.num_attention_heads as u64);
    let (hidden, intermediate) = (config.hidden_size as u64, config.intermediate_size as u64);
    // Of itself, and in the decoder of the encoder's output.
    let attentions = if layer < config.num_layers { 1 } else { 2 };
    let activation = match config.mlp.input {
        MlpInput::Plain { .. } => intermediate,
        MlpInput::Gated { .. } | MlpInput::FusedGated { .. } => 2 * intermediate,
    };
    attentions * (4 * inner + heads) + (attentions + 1) * hidden + activation + projections(modules, trained, layer)
}

/// Inputs that the projections of a block keep: one for those that share it.
fn projections(modules: &Modules, trained: &Trained, layer: usize) -> u64 {
    let keeps = |module: &&Module| {
        module.layer == Some(layer) && (trained.ranks[module.id.index()] > 0 || trained.is_trained(module.weight))
    };
    let ranks: usize = modules.iter().filter(keeps).map(|module| trained.ranks[module.id.index()]).sum();
    let (mut inputs, mut elements) = (Vec::new(), ranks as u64);
    for module in modules.iter().filter(keeps) {
        let ModuleKind::Linear { in_features, .. } = module.kind else { continue };
        // The result of attention is kept by attention itself.
        if module.path.ends_with("Attention.o") {
            continue;
        }
        let part = module.path.rsplit_once('.').map_or("", |(part, _)| part);
        if !inputs.contains(&(part, in_features)) {
            inputs.push((part, in_features));
            elements += in_features as u64;
        }
    }
    elements
}
