//! Phi-3 and Phi-4-mini: Llama with fused projections, partial rotation and LongRoPE.
//!
//! Source: Abdin et al. 2024, "Phi-3 technical report".

use super::Family;
use super::llama::llama_like;
use crate::Result;
use crate::config::{AttentionConfig, Common, DecoderConfig, Defaults, Keys, MlpConfig, MlpInput, Projection};
use crate::rope::{RopeConfig, RopeContext, RopeScaling, flat_parameters};

pub(super) static FAMILY: Family = Family { model_type: "phi3", architecture: "Phi3ForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32064,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 4096,
    norm_eps: 1e-5,
    activation: ("hidden_act", "silu"),
    tie_word_embeddings: false,
    pad_token_id: Some(32000),
    even_heads: false,
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let rope = rope(keys, &common)?;
    let window = keys.optional_size("sliding_window")?;
    let mut config = llama_like(&FAMILY, common, vec![rope]);
    config.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(DecoderConfig {
        attention: AttentionConfig { projection: Projection::Fused { path: "self_attn.qkv_proj" }, ..config.attention },
        mlp: MlpConfig { input: MlpInput::FusedGated { path: "mlp.gate_up_proj" }, ..config.mlp },
        ..config
    })
}

fn rope(keys: &Keys<'_>, common: &Common) -> Result<RopeConfig> {
    let parameters = flat_parameters(keys)?;
    let context = RopeContext {
        theta: keys.positive("rope_theta", 10000.0)?,
        partial_rotary_factor: keys.positive("partial_rotary_factor", 1.0)?,
        partial: true,
        head_dim: common.heads.head_dim,
        max_position_embeddings: common.max_position_embeddings,
        // The class has this key itself, so that the one in the parameters never counts.
        original_max_position_embeddings: Some(keys.size("original_max_position_embeddings", 4096)?),
    };
    let rope = RopeConfig::read(&parameters, context)?;
    match rope.scaling {
        RopeScaling::Default | RopeScaling::Longrope(_) => Ok(rope),
        _ => {
            let name = if parameters.has("rope_type") { "rope_type" } else { "type" };
            Err(parameters.refuse(name, "`default` or `longrope`, the only ones that Phi-3 knows"))
        }
    }
}
