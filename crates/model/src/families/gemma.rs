//! Gemma: Llama with a scaled embedding, norms around 1, and a head that is always shared by default.
//!
//! Source: Gemma team 2024, "Gemma: open models based on Gemini research and technology".

use tensor::Activation;

use super::Family;
use super::llama::llama_like;
use crate::Result;
use crate::config::{AttentionConfig, Common, DecoderConfig, Defaults, Keys, MlpConfig, NormConfig, NormKind};
use crate::rope::RopeConfig;

pub(super) static FAMILY: Family = Family { model_type: "gemma", architecture: "GemmaForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 256000,
    hidden_size: 3072,
    intermediate_size: 24576,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: Some(16),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    norm_eps: 1e-6,
    activation: ("hidden_act", "gelu_pytorch_tanh"),
    tie_word_embeddings: true,
    pad_token_id: Some(0),
    even_heads: false,
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let rope = common.rope(keys)?;
    let config = gemma_like(keys, &FAMILY, common, vec![rope])?;
    // The first files say `gelu` and have always meant its tanh form.
    match keys.text("hidden_act")? {
        Some("gelu") => {
            Ok(DecoderConfig { mlp: MlpConfig { activation: Activation::GeluTanh, ..config.mlp }, ..config })
        }
        _ => Ok(config),
    }
}

/// What the three Gemmas share.
pub(super) fn gemma_like(
    keys: &Keys<'_>,
    family: &'static Family,
    common: Common,
    ropes: Vec<RopeConfig>,
) -> Result<DecoderConfig> {
    if keys.flag("use_bidirectional_attention", false)? {
        return Err(keys.unsupported("use_bidirectional_attention", "a decoder looks back only"));
    }
    let bias = keys.flag("attention_bias", false)?;
    let base = llama_like(family, common, ropes);
    Ok(DecoderConfig {
        scaled_embedding: true,
        norm: NormConfig { kind: NormKind::Rms { unit_offset: true }, ..base.norm },
        attention: AttentionConfig { bias, output_bias: bias, ..base.attention },
        ..base
    })
}
