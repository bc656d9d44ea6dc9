//! Gemma 3, text: Gemma 2 with norms of heads in place of bounded scores, five windows to one full block, and a rotation
//! of its own for each kind.
//!
//! Source: Gemma team 2025, "Gemma 3 technical report".

use super::Family;
use super::gemma::gemma_like;
use super::gemma2::{NORMS_ON_BOTH_SIDES, query_scale};
use crate::Result;
use crate::config::{AttentionConfig, Common, DecoderConfig, Defaults, Keys, LayerType};
use crate::rope::{RopeConfig, RopeContext};

pub(super) static FAMILY: Family = Family { model_type: "gemma3_text", architecture: "Gemma3ForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 262208,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 131072,
    norm_eps: 1e-6,
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    tie_word_embeddings: true,
    pad_token_id: Some(0),
    even_heads: true,
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let ropes = vec![full_rope(keys, &common)?, sliding_rope(keys, &common)?];
    let mut config = gemma_like(keys, &FAMILY, common, ropes)?;
    let softmax_scale = query_scale(keys)?;
    let window = keys.nullable_size("sliding_window", 4096)?;
    let pattern = keys.size("sliding_window_pattern", 6)?;
    let rule = |layer: usize| if (layer + 1).is_multiple_of(pattern) { LayerType::Full } else { LayerType::Sliding };
    let layer_types = LayerType::read(keys, config.layers.len(), rule)?;
    for (layer, layer_type) in config.layers.iter_mut().zip(layer_types) {
        layer.softmax_scale = softmax_scale;
        layer.window = layer_type.window(keys, window)?;
        layer.rope = if layer_type == LayerType::Full { 0 } else { 1 };
    }
    // `attn_logit_softcapping` stands in the files, and transformers' Gemma 3 does not use it.
    Ok(DecoderConfig {
        residual: NORMS_ON_BOTH_SIDES,
        attention: AttentionConfig { head_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]), ..config.attention },
        final_logit_softcapping: keys.optional_positive("final_logit_softcapping")?.map(|cap| cap as f32),
        ..config
    })
}

/// The rotation of blocks that see the whole text: `rope_scaling` belongs to it.
fn full_rope(keys: &Keys<'_>, common: &Common) -> Result<RopeConfig> {
    let parameters = match keys.object("rope_scaling")? {
        Some(scaling) => scaling,
        None => nested(keys, "full_attention")?,
    };
    RopeConfig::read(&parameters, context(common, keys.positive("rope_theta", 1_000_000.0)?))
}

/// The rotation of blocks that see a window.
fn sliding_rope(keys: &Keys<'_>, common: &Common) -> Result<RopeConfig> {
    let parameters = nested(keys, "sliding_attention")?;
    RopeConfig::read(&parameters, context(common, keys.positive("rope_local_base_freq", 10_000.0)?))
}

fn nested<'a>(keys: &Keys<'a>, layer_type: &str) -> Result<Keys<'a>> {
    let parameters = match keys.object("rope_parameters")? {
        Some(parameters) => parameters,
        None => keys.nothing("rope_parameters"),
    };
    Ok(match parameters.object(layer_type)? {
        Some(parameters) => parameters,
        None => parameters.nothing(layer_type),
    })
}

fn context(common: &Common, theta: f64) -> RopeContext {
    RopeContext {
        theta,
        partial_rotary_factor: 1.0,
        partial: false,
        head_dim: common.heads.head_dim,
        max_position_embeddings: common.max_position_embeddings,
        original_max_position_embeddings: None,
    }
}
