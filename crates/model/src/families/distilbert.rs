//! DistilBERT: BERT without token types and pooler, under names of its own.
//!
//! Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter".

use tensor::{Activation, Layout};

use super::EncoderFamily;
use crate::Result;
use crate::config::{
    AttentionConfig, BlockConfig, EmbeddingsConfig, EncoderConfig, FirstPosition, HeadConfig, Heads, HeadsConfig, Keys,
    LayerConfig, MlpConfig, MlpInput, NormConfig, NormKind, Projection, Residual, even_head_dim, num_layers,
    padding_idx, read_activation, read_dtype, width,
};

pub(super) static FAMILY: EncoderFamily = EncoderFamily {
    model_type: "distilbert",
    architecture: "DistilBertModel",
    other_heads: &[
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "pre_classifier.",
        "classifier.",
        "qa_outputs.",
    ],
    read,
};

fn read(keys: &Keys<'_>) -> Result<EncoderConfig> {
    let hidden_size = width(keys, "dim", 768)?;
    let num_heads = width(keys, "n_heads", 12)?;
    let head_dim = even_head_dim(keys, "dim", hidden_size, num_heads)?;
    let vocab_size = keys.size("vocab_size", 30522)?;
    let layer = LayerConfig { softmax_scale: (head_dim as f64).powf(-0.5) as f32, window: None, rope: 0 };
    Ok(EncoderConfig {
        family: &FAMILY,
        base: "distilbert",
        vocab_size,
        max_position_embeddings: keys.size("max_position_embeddings", 512)?,
        dtype: read_dtype(keys)?,
        embeddings: EmbeddingsConfig {
            words: "embeddings.word_embeddings",
            padding_idx: padding_idx(keys.nullable_integer("pad_token_id", Some(0))?, vocab_size),
            positions: "embeddings.position_embeddings",
            first_position: FirstPosition::Zero,
            token_types: None,
            norm: "embeddings.LayerNorm",
        },
        block: BlockConfig {
            hidden_size,
            intermediate_size: width(keys, "hidden_dim", 4 * 768)?,
            heads: Heads { num_attention_heads: num_heads, num_key_value_heads: num_heads, head_dim },
            norm: NormConfig { kind: NormKind::Layer, eps: 1e-12 },
            residual: Residual::PostNorm { after_attention: "sa_layer_norm", after_mlp: "output_layer_norm" },
            attention: AttentionConfig {
                projection: Projection::Separate {
                    query: "attention.q_lin",
                    key: "attention.k_lin",
                    value: "attention.v_lin",
                },
                bias: true,
                output: "attention.out_lin",
                output_bias: true,
                layout: Layout::OutIn,
                head_norms: None,
                softcap: None,
            },
            mlp: MlpConfig {
                input: MlpInput::Plain { up: "ffn.lin1" },
                output: "ffn.lin2",
                bias: true,
                layout: Layout::OutIn,
                activation: read_activation(keys, "activation", "gelu")?,
            },
            rotary: false,
            causal: false,
        },
        layers: vec![layer; num_layers(keys, "n_layers", 6)?],
        blocks: "transformer.layer",
        heads: HeadsConfig {
            pooler: None,
            sequence: HeadConfig { dense: Some(("pre_classifier", Activation::Relu)), output: "classifier" },
            token: HeadConfig { dense: None, output: "classifier" },
        },
        initializer_range: keys.positive("initializer_range", 0.02)? as f32,
    })
}
