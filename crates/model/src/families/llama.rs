//! Llama 1 to 3, and the parts that its descendants share: RMSNorm, rotation, grouped queries, gated MLP.
//!
//! Source: Touvron et al. 2023, "LLaMA"; Grattafiori et al. 2024, "The Llama 3 herd of models".

use tensor::Layout;

use super::Family;
use crate::Result;
use crate::config::{
    AttentionConfig, Common, DecoderConfig, Defaults, Keys, LayerConfig, MlpConfig, MlpInput, Names, NormConfig,
    NormKind, Positions, Projection, Residual,
};
use crate::rope::RopeConfig;

pub(super) static FAMILY: Family = Family { model_type: "llama", architecture: "LlamaForCausalLM", read };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    norm_eps: 1e-6,
    activation: ("hidden_act", "silu"),
    tie_word_embeddings: false,
    pad_token_id: None,
    even_heads: true,
};

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let common = Common::read(keys, &DEFAULTS)?;
    let rope = common.rope(keys)?;
    let attention_bias = keys.flag("attention_bias", false)?;
    let base = llama_like(&FAMILY, common, vec![rope]);
    Ok(DecoderConfig {
        attention: AttentionConfig { bias: attention_bias, output_bias: attention_bias, ..base.attention },
        mlp: MlpConfig { bias: keys.flag("mlp_bias", false)?, ..base.mlp },
        ..base
    })
}

/// A Llama without biases, every block of which sees the whole text and uses the first rotation.
pub(super) fn llama_like(family: &'static Family, common: Common, ropes: Vec<RopeConfig>) -> DecoderConfig {
    let softmax_scale = (common.heads.head_dim as f64).powf(-0.5) as f32;
    DecoderConfig {
        family,
        vocab_size: common.vocab_size,
        hidden_size: common.hidden_size,
        intermediate_size: common.intermediate_size,
        max_position_embeddings: common.max_position_embeddings,
        eos_token_id: common.eos_token_id,
        dtype: common.dtype,
        heads: common.heads,
        scaled_embedding: false,
        padding_idx: common.padding_idx,
        positions: Positions::Rotary(ropes),
        norm: NormConfig { kind: NormKind::Rms { unit_offset: false }, eps: common.norm_eps },
        residual: Residual::Sequential {
            before_attention: "input_layernorm",
            after_attention: None,
            before_mlp: "post_attention_layernorm",
            after_mlp: None,
        },
        attention: AttentionConfig {
            projection: Projection::Separate {
                query: "self_attn.q_proj",
                key: "self_attn.k_proj",
                value: "self_attn.v_proj",
            },
            bias: false,
            output: "self_attn.o_proj",
            output_bias: false,
            layout: Layout::OutIn,
            head_norms: None,
            softcap: None,
        },
        mlp: MlpConfig {
            input: MlpInput::Gated { gate: "mlp.gate_proj", up: "mlp.up_proj" },
            output: "mlp.down_proj",
            bias: false,
            layout: Layout::OutIn,
            activation: common.activation,
        },
        layers: vec![LayerConfig { softmax_scale, window: None, rope: 0 }; common.num_hidden_layers],
        num_labels: None,
        tie_word_embeddings: common.tie_word_embeddings,
        final_logit_softcapping: None,
        names: Names {
            base: "model",
            embedding: "model.embed_tokens",
            blocks: "model.layers",
            norm: "model.norm",
            head: "lm_head",
            head_alias: None,
        },
    }
}
