//! Qwen 3: Qwen 2 without those biases, and with a norm on the query and key of every head.
//!
//! Source: Yang et al. 2025, "Qwen3 technical report".

use super::Family;
use super::llama::llama_like;
use super::qwen2::set_windows;
use crate::Result;
use crate::config::{AttentionConfig, Common, DecoderConfig, Defaults, Keys};

pub(super) static FAMILY: Family = Family { model_type: "qwen3", architecture: "Qwen3ForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151936,
    hidden_size: 4096,
    intermediate_size: 22016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: Some(128),
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
    let bias = keys.flag("attention_bias", false)?;
    let mut config = llama_like(&FAMILY, common, vec![rope]);
    set_windows(keys, &mut config.layers)?;
    Ok(DecoderConfig {
        attention: AttentionConfig {
            bias,
            output_bias: bias,
            head_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
            ..config.attention
        },
        ..config
    })
}
