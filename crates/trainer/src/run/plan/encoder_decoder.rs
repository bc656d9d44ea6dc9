//! What an encoder-decoder keeps and uses; see [`super::activations`] for what is kept by what.

use model::Modules;
use model::config::{EncoderDecoderConfig, MlpInput};

use super::activations::{Keeping, at_once, head_bytes};
use super::{Activations, F32_BYTES, Trained};

/// Of an encoder-decoder over `tokens` tokens on each side, while `trained` is trained.
pub fn encoder_decoder_activations(
    config: &EncoderDecoderConfig,
    modules: &Modules,
    trained: &Trained,
    tokens: usize,
    keeping: Keeping,
) -> Activations {
    let (tokens, hidden) = (tokens as u64, config.hidden_size as u64);
    let layers = config.num_layers + config.num_decoder_layers;
    let blocks = (0..layers).map(|layer| block_bytes(config, modules, trained, layer, keeping));
    // The encoder's output stays for all blocks of the decoder.
    let kept = hidden * F32_BYTES + keeping.of_blocks(blocks, config.hidden_size);
    let dimensions = config.dimensions();
    Activations {
        saved: tokens * kept,
        workspace: tokens * at_once(config.hidden_size, config.intermediate_size) * F32_BYTES
            + head_bytes(&dimensions, modules, trained, tokens, keeping),
    }
}

/// Bytes per token that block `layer`, counted through both sides, keeps.
fn block_bytes(
    config: &EncoderDecoderConfig,
    modules: &Modules,
    trained: &Trained,
    layer: usize,
    keeping: Keeping,
) -> u64 {
    let (inner, heads) = (config.heads.query_size() as u64, config.heads.num_attention_heads as u64);
    let (hidden, intermediate) = (config.hidden_size as u64, config.intermediate_size as u64);
    // Of itself, and in the decoder of the encoder's output.
    let attentions = if layer < config.num_layers { 1 } else { 2 };
    let activation = match config.mlp.input {
        MlpInput::Plain { .. } => intermediate,
        MlpInput::Gated { .. } if keeping.makes_again() => intermediate,
        MlpInput::Gated { .. } | MlpInput::FusedGated { .. } => 2 * intermediate,
    };
    let in_dtype = attentions * 4 * inner + (attentions + 1) * hidden + activation;
    in_dtype * keeping.element() + (attentions * heads + trained.ranks_of(modules, layer)) * F32_BYTES
}
