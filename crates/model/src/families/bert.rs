//! BERT: norms after the sums, learned positions, a class token that is pooled.
//!
//! Source: Devlin et al. 2019, "BERT: Pre-training of deep bidirectional transformers for language understanding".

use tensor::{Activation, Layout};

use super::EncoderFamily;
use crate::Result;
use crate::config::{
    AttentionConfig, BlockConfig, EmbeddingsConfig, EncoderConfig, FirstPosition, HeadConfig, Heads, HeadsConfig, Keys,
    LayerConfig, MlpConfig, MlpInput, NormConfig, NormKind, Projection, Residual, even_head_dim, num_layers,
    padding_idx, read_activation, read_dtype, width,
};

pub(super) static FAMILY: EncoderFamily = EncoderFamily {
    model_type: "bert",
    architecture: "BertModel",
    // Masked tokens and next sentences of pretraining, classes and answers of other tasks.
    other_heads: &["cls.", "bert.pooler.", "pooler.", "classifier.", "qa_outputs."],
    read,
};

fn read(keys: &Keys<'_>) -> Result<EncoderConfig> {
    bert_like(keys, &FAMILY, "bert", Some(0), |_| Ok(FirstPosition::Zero))
}

/// What BERT and RoBERTa share. `pad_token_id` is what an absent key means, and `first_position` is told the padding token.
pub(super) fn bert_like(
    keys: &Keys<'_>,
    family: &'static EncoderFamily,
    base: &'static str,
    pad_token_id: Option<i64>,
    first_position: impl Fn(Option<u32>) -> Result<FirstPosition>,
) -> Result<EncoderConfig> {
    refuse_decoders(keys)?;
    let hidden_size = width(keys, "hidden_size", 768)?;
    let num_heads = width(keys, "num_attention_heads", 12)?;
    let head_dim = even_head_dim(keys, "hidden_size", hidden_size, num_heads)?;
    let vocab_size = keys.size("vocab_size", 30522)?;
    let padding_idx = padding_idx(keys.nullable_integer("pad_token_id", pad_token_id)?, vocab_size);
    let first_position = first_position(padding_idx)?;
    let positions = keys.size("max_position_embeddings", 512)?;
    let Some(max_position_embeddings) = positions.checked_sub(first_position.unused()).filter(|&n| n > 0) else {
        return Err(keys.refuse("max_position_embeddings", "more than the positions that padding takes"));
    };
    let layer = LayerConfig { softmax_scale: (head_dim as f64).powf(-0.5) as f32, window: None, rope: 0 };
    Ok(EncoderConfig {
        family,
        base,
        vocab_size,
        max_position_embeddings,
        dtype: read_dtype(keys)?,
        embeddings: EmbeddingsConfig {
            words: "embeddings.word_embeddings",
            padding_idx,
            positions: "embeddings.position_embeddings",
            first_position,
            token_types: Some(("embeddings.token_type_embeddings", keys.size("type_vocab_size", 2)?)),
            norm: "embeddings.LayerNorm",
        },
        block: BlockConfig {
            hidden_size,
            intermediate_size: width(keys, "intermediate_size", 3072)?,
            heads: Heads { num_attention_heads: num_heads, num_key_value_heads: num_heads, head_dim },
            norm: NormConfig { kind: NormKind::Layer, eps: keys.positive("layer_norm_eps", 1e-12)? as f32 },
            residual: Residual::PostNorm {
                after_attention: "attention.output.LayerNorm",
                after_mlp: "output.LayerNorm",
            },
            attention: AttentionConfig {
                projection: Projection::Separate {
                    query: "attention.self.query",
                    key: "attention.self.key",
                    value: "attention.self.value",
                },
                bias: true,
                output: "attention.output.dense",
                output_bias: true,
                layout: Layout::OutIn,
                head_norms: None,
                softcap: None,
            },
            mlp: MlpConfig {
                input: MlpInput::Plain { up: "intermediate.dense" },
                output: "output.dense",
                bias: true,
                layout: Layout::OutIn,
                activation: read_activation(keys, "hidden_act", "gelu")?,
            },
            rotary: false,
            causal: false,
        },
        layers: vec![layer; num_layers(keys, "num_hidden_layers", 12)?],
        blocks: "encoder.layer",
        heads: HeadsConfig {
            pooler: Some("pooler.dense"),
            sequence: HeadConfig { dense: Some(("bert.pooler.dense", Activation::Tanh)), output: "classifier" },
            token: HeadConfig { dense: None, output: "classifier" },
        },
        initializer_range: keys.positive("initializer_range", 0.02)? as f32,
    })
}

/// Variants of these families that are no encoders, or place tokens otherwise.
fn refuse_decoders(keys: &Keys<'_>) -> Result<()> {
    for key in ["is_decoder", "add_cross_attention"] {
        if keys.flag(key, false)? {
            return Err(keys.unsupported(key, "an encoder is computed, in which every token sees the whole text"));
        }
    }
    match keys.text("position_embedding_type")? {
        None | Some("absolute") => Ok(()),
        Some(_) => {
            Err(keys.unsupported("position_embedding_type", "positions are those of a learned table, `absolute`"))
        }
    }
}
