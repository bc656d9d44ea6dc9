//! GPT-2: LayerNorm, learned positions, transposed weights (`Conv1D`), a plain MLP.
//!
//! Source: Radford et al. 2019, "Language models are unsupervised multitask learners".

use tensor::Layout;

use super::Family;
use crate::Result;
use crate::config::{
    AttentionConfig, DecoderConfig, Heads, Keys, LayerConfig, MlpConfig, MlpInput, Names, NormConfig, NormKind,
    Positions, Projection, Residual, even_head_dim, num_layers, read_activation, read_dtype, width,
};

pub(super) static FAMILY: Family = Family { model_type: "gpt2", architecture: "GPT2LMHeadModel", read };

fn read(keys: &Keys<'_>) -> Result<DecoderConfig> {
    if keys.flag("add_cross_attention", false)? {
        return Err(keys.unsupported("add_cross_attention", "there is no encoder to attend to"));
    }
    let hidden_size = width(keys, "n_embd", 768)?;
    let num_heads = keys.size("n_head", 12)?;
    let head_dim = even_head_dim(keys, "n_embd", hidden_size, num_heads)?;
    Ok(DecoderConfig {
        family: &FAMILY,
        vocab_size: keys.size("vocab_size", 50257)?,
        hidden_size,
        intermediate_size: width(keys, "n_inner", 4 * hidden_size)?,
        max_position_embeddings: keys.size("n_positions", 1024)?,
        eos_token_id: keys.token_ids("eos_token_id")?,
        dtype: read_dtype(keys)?,
        heads: Heads { num_attention_heads: num_heads, num_key_value_heads: num_heads, head_dim },
        scaled_embedding: false,
        padding_idx: None,
        positions: Positions::Learned { path: "transformer.wpe" },
        norm: NormConfig { kind: NormKind::Layer, eps: keys.positive("layer_norm_epsilon", 1e-5)? as f32 },
        residual: Residual::Sequential {
            before_attention: "ln_1",
            after_attention: None,
            before_mlp: "ln_2",
            after_mlp: None,
        },
        attention: AttentionConfig {
            projection: Projection::Fused { path: "attn.c_attn" },
            bias: true,
            output: "attn.c_proj",
            output_bias: true,
            layout: Layout::InOut,
            head_norms: None,
            softcap: None,
        },
        mlp: MlpConfig {
            input: MlpInput::Plain { up: "mlp.c_fc" },
            output: "mlp.c_proj",
            bias: true,
            layout: Layout::InOut,
            activation: read_activation(keys, "activation_function", "gelu_new")?,
        },
        layers: layers(keys, head_dim)?,
        num_labels: None,
        tie_word_embeddings: keys.flag("tie_word_embeddings", true)?,
        final_logit_softcapping: None,
        names: Names {
            base: "transformer",
            embedding: "transformer.wte",
            blocks: "transformer.h",
            norm: "transformer.ln_f",
            head: "lm_head",
            head_alias: None,
        },
    })
}

/// The blocks differ in the factor of the scores, if at all.
fn layers(keys: &Keys<'_>, head_dim: usize) -> Result<Vec<LayerConfig>> {
    let scale = if keys.flag("scale_attn_weights", true)? { (head_dim as f64).powf(-0.5) } else { 1.0 };
    let by_layer = keys.flag("scale_attn_by_inverse_layer_idx", false)?;
    let scale_of = |layer: usize| if by_layer { scale / (layer + 1) as f64 } else { scale };
    let layers = 0..num_layers(keys, "n_layer", 12)?;
    Ok(layers.map(|i| LayerConfig { softmax_scale: scale_of(i) as f32, window: None, rope: 0 }).collect())
}
