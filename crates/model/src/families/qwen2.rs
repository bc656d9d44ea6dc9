//! Qwen 2 and 2.5: Llama with biases on queries, keys and values, and windows from some block on.
//!
//! Source: Yang et al. 2024, "Qwen2 technical report".

use super::Family;
use super::llama::llama_like;
use crate::Result;
use crate::config::{AttentionConfig, Common, DecoderConfig, Defaults, Keys, LayerConfig, LayerType};

pub(super) static FAMILY: Family = Family { model_type: "qwen2", architecture: "Qwen2ForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151936,
    hidden_size: 4096,
    intermediate_size: 22016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: None,
    max_position_embeddings: 32768,
    norm_eps: 1e-6,
    activation: ("hidden_act", "silu"),
    tie_word_embeddings: false,
    pad_token_id: None,
    even_heads: false,
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let rope = common.rope(keys)?;
    let mut config = llama_like(&FAMILY, common, vec![rope]);
    set_windows(keys, &mut config.layers)?;
    Ok(DecoderConfig { attention: AttentionConfig { bias: true, ..config.attention }, ..config })
}

/// The rule of Qwen 2 and 3: windows only where `use_sliding_window` is set, from block `max_window_layers` on.
pub(super) fn set_windows(keys: &Keys<'_>, layers: &mut [LayerConfig]) -> Result<()> {
    let used = keys.flag("use_sliding_window", false)?;
    let window = if used { keys.nullable_size("sliding_window", 4096)? } else { None };
    let full = keys.count("max_window_layers", 28)?;
    let rule = |layer| if window.is_some() && layer >= full { LayerType::Sliding } else { LayerType::Full };
    let layer_types = LayerType::read(keys, layers.len(), rule)?;
    for (layer, layer_type) in layers.iter_mut().zip(layer_types) {
        layer.window = layer_type.window(keys, window)?;
    }
    Ok(())
}
