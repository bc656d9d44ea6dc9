//! GPT-NeoX and Pythia: attention and MLP side by side, partial rotation, query, key and value fused head by head.
//!
//! Source: Black et al. 2022, "GPT-NeoX-20B"; Biderman et al. 2023, "Pythia".

use tensor::Layout;

use super::Family;
use crate::Result;
use crate::config::{
    AttentionConfig, DecoderConfig, Heads, Keys, LayerConfig, MlpConfig, MlpInput, Names, NormConfig, NormKind,
    Positions, Projection, Residual, even_head_dim, num_layers, read_activation, read_dtype, width,
};
use crate::rope::{RopeConfig, RopeContext, flat_parameters};

pub(super) static FAMILY: Family = Family { model_type: "gpt_neox", architecture: "GPTNeoXForCausalLM", read };

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let hidden_size = width(keys, "hidden_size", 6144)?;
    let num_heads = keys.size("num_attention_heads", 64)?;
    let head_dim = even_head_dim(keys, "hidden_size", hidden_size, num_heads)?;
    let max_position_embeddings = keys.size("max_position_embeddings", 2048)?;
    let num_layers = num_layers(keys, "num_hidden_layers", 44)?;
    let attention_bias = keys.flag("attention_bias", true)?;
    let (before_attention, before_mlp) = ("input_layernorm", "post_attention_layernorm");
    let softmax_scale = (head_dim as f64).powf(-0.5) as f32;
    Ok(DecoderConfig {
        family: &FAMILY,
        vocab_size: keys.size("vocab_size", 50432)?,
        hidden_size,
        intermediate_size: width(keys, "intermediate_size", 24576)?,
        max_position_embeddings,
        eos_token_id: keys.token_ids("eos_token_id")?,
        dtype: read_dtype(keys)?,
        heads: Heads { num_attention_heads: num_heads, num_key_value_heads: num_heads, head_dim },
        scaled_embedding: false,
        padding_idx: None,
        positions: Positions::Rotary(vec![rope(keys, head_dim, max_position_embeddings)?]),
        norm: NormConfig { kind: NormKind::Layer, eps: keys.positive("layer_norm_eps", 1e-5)? as f32 },
        residual: if keys.flag("use_parallel_residual", true)? {
            Residual::Parallel { before_attention, before_mlp }
        } else {
            Residual::Sequential { before_attention, after_attention: None, before_mlp, after_mlp: None }
        },
        attention: AttentionConfig {
            projection: Projection::FusedByHead { path: "attention.query_key_value" },
            bias: attention_bias,
            output: "attention.dense",
            output_bias: attention_bias,
            layout: Layout::OutIn,
            head_norms: None,
            softcap: None,
        },
        mlp: MlpConfig {
            input: MlpInput::Plain { up: "mlp.dense_h_to_4h" },
            output: "mlp.dense_4h_to_h",
            bias: true,
            layout: Layout::OutIn,
            activation: read_activation(keys, "hidden_act", "gelu")?,
        },
        layers: vec![LayerConfig { softmax_scale, window: None, rope: 0 }; num_layers],
        num_labels: None,
        tie_word_embeddings: keys.flag("tie_word_embeddings", false)?,
        final_logit_softcapping: None,
        names: Names {
            base: "gpt_neox",
            embedding: "gpt_neox.embed_in",
            blocks: "gpt_neox.layers",
            norm: "gpt_neox.final_layer_norm",
            head: "lm_head",
            // The files' name of it; transformers 5 renames the module as it loads them.
            head_alias: Some("embed_out"),
        },
    })
}

/// The base and the share stand beside `rope_scaling` under names of this family.
fn rope(keys: &Keys<'_>, head_dim: usize, max_position_embeddings: usize) -> Result<RopeConfig> {
    RopeConfig::read(
        &flat_parameters(keys)?,
        RopeContext {
            theta: keys.positive("rotary_emb_base", 10000.0)?,
            partial_rotary_factor: keys.positive("rotary_pct", 0.25)?,
            partial: true,
            head_dim,
            max_position_embeddings,
            original_max_position_embeddings: keys.optional_size("original_max_position_embeddings")?,
        },
    )
}
