//! Gemma 2: norms on both sides of attention and MLP, bounded scores and logits, a window in every second block.
//!
//! Source: Gemma team 2024, "Gemma 2: improving open language models at a practical size".

use super::Family;
use super::gemma::gemma_like;
use crate::Result;
use crate::config::{AttentionConfig, Common, DecoderConfig, Defaults, Keys, LayerType, Residual};

pub(super) static FAMILY: Family = Family { model_type: "gemma2", architecture: "Gemma2ForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 256000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    norm_eps: 1e-6,
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    tie_word_embeddings: true,
    pad_token_id: Some(0),
    even_heads: true,
};

/// A norm before and after each part of a block (Gemma 2 and 3).
pub(super) const NORMS_ON_BOTH_SIDES: Residual = Residual::Sequential {
    before_attention: "input_layernorm",
    after_attention: Some("post_attention_layernorm"),
    before_mlp: "pre_feedforward_layernorm",
    after_mlp: Some("post_feedforward_layernorm"),
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let rope = common.rope(keys)?;
    let mut config = gemma_like(keys, &FAMILY, common, vec![rope])?;
    let softmax_scale = query_scale(keys)?;
    let window = keys.nullable_size("sliding_window", 4096)?;
    let rule = |layer: usize| if layer.is_multiple_of(2) { LayerType::Sliding } else { LayerType::Full };
    let layer_types = LayerType::read(keys, config.layers.len(), rule)?;
    for (layer, layer_type) in config.layers.iter_mut().zip(layer_types) {
        layer.softmax_scale = softmax_scale;
        layer.window = layer_type.window(keys, window)?;
    }
    let softcap = keys.nullable_positive("attn_logit_softcapping", 50.0)?;
    Ok(DecoderConfig {
        residual: NORMS_ON_BOTH_SIDES,
        attention: AttentionConfig { softcap: softcap.map(|cap| cap as f32), ..config.attention },
        final_logit_softcapping: keys.nullable_positive("final_logit_softcapping", 30.0)?.map(|cap| cap as f32),
        ..config
    })
}

/// The factor of the scores: `query_pre_attn_scalar^-1/2`.
pub(super) fn query_scale(keys: &Keys<'_>) -> Result<f32> {
    Ok(keys.positive("query_pre_attn_scalar", 256.0)?.powf(-0.5) as f32)
}
