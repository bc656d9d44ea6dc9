//! Mistral: Llama whose every block sees a window of the text.
//!
//! Source: Jiang et al. 2023, "Mistral 7B".

use super::Family;
use super::llama::llama_like;
use crate::Result;
use crate::config::{Common, DecoderConfig, Defaults, Keys};

pub(super) static FAMILY: Family = Family { model_type: "mistral", architecture: "MistralForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 131072,
    norm_eps: 1e-6,
    activation: ("hidden_act", "silu"),
    tie_word_embeddings: false,
    pad_token_id: None,
    even_heads: false,
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let rope = common.rope(keys)?;
    let window = keys.nullable_size("sliding_window", 4096)?;
    let mut config = llama_like(&FAMILY, common, vec![rope]);
    config.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}
