//! T5 1.0 and 1.1, and mT5, which is T5 1.1 for many languages: RMS norms, a bias by relative position in place of
//! positions, scores that are not scaled, a plain MLP (1.0) or a gated one.
//!
//! Sources: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer"; Shazeer
//! 2020, "GLU variants improve transformer"; Xue et al. 2021, "mT5".

use std::str::FromStr;

use tensor::{Activation, Layout, RelativeBuckets};

use super::EncoderDecoderFamily;
use crate::Result;
use crate::config::{
    EncoderDecoderConfig, Heads, Keys, MAX_WIDTH, MlpConfig, MlpInput, NormConfig, NormKind, num_layers, read_dtype,
    width,
};

pub(super) static T5: EncoderDecoderFamily =
    EncoderDecoderFamily { model_type: "t5", architecture: "T5ForConditionalGeneration", read: read_t5 };

pub(super) static MT5: EncoderDecoderFamily =
    EncoderDecoderFamily { model_type: "mt5", architecture: "MT5ForConditionalGeneration", read: read_mt5 };

/// What transformers assumes where a file says nothing.
struct Defaults {
    vocab_size: usize,
    d_ff: usize,
    num_layers: usize,
    num_heads: usize,
    feed_forward_proj: &'static str,
    decoder_start_token_id: Option<u32>,
}

fn read_t5(family: &'static EncoderDecoderFamily, keys: &Keys<'_>) -> Result<EncoderDecoderConfig> {
    let defaults = Defaults {
        vocab_size: 32128,
        d_ff: 2048,
        num_layers: 6,
        num_heads: 8,
        feed_forward_proj: "relu",
        decoder_start_token_id: None,
    };
    // Files of transformers 4 say by `tie_word_embeddings` whether the outputs are scaled: the first models tie the head and
    // scale, those of T5 1.1 do neither. Whether the head is tied follows from the weights in either case.
    let tied = keys.flag("tie_word_embeddings", true)?;
    let scale_decoder_outputs = keys.flag("scale_decoder_outputs", tied)?;
    Ok(EncoderDecoderConfig { scale_decoder_outputs, ..read(family, keys, &defaults)? })
}

fn read_mt5(family: &'static EncoderDecoderFamily, keys: &Keys<'_>) -> Result<EncoderDecoderConfig> {
    let defaults = Defaults {
        vocab_size: 250112,
        d_ff: 1024,
        num_layers: 8,
        num_heads: 6,
        feed_forward_proj: "gated-gelu",
        decoder_start_token_id: Some(0),
    };
    read(family, keys, &defaults)
}

/// The keys that both have. Outputs are not scaled.
fn read(family: &'static EncoderDecoderFamily, keys: &Keys<'_>, defaults: &Defaults) -> Result<EncoderDecoderConfig> {
    let vocab_size = keys.size("vocab_size", defaults.vocab_size)?;
    let num_attention_heads = width(keys, "num_heads", defaults.num_heads)?;
    let head_dim = keys.bounded_size("d_kv", 64, MAX_WIDTH / num_attention_heads)?;
    let encoder_layers = num_layers(keys, "num_layers", defaults.num_layers)?;
    let norm_eps = keys.positive("layer_norm_epsilon", 1e-6)? as f32;
    let token = |key, default: Option<u32>| match keys.token_ids(key)?.first().copied().or(default) {
        Some(id) if (id as usize) < vocab_size => Ok(id),
        Some(_) => Err(keys.refuse(key, format!("a token below the size of the vocabulary, {vocab_size}"))),
        None => Err(keys.missing(key, "the decoder's first input is this token; in T5 it is `pad_token_id`, 0")),
    };
    Ok(EncoderDecoderConfig {
        family,
        vocab_size,
        hidden_size: width(keys, "d_model", 512)?,
        intermediate_size: width(keys, "d_ff", defaults.d_ff)?,
        heads: Heads { num_attention_heads, num_key_value_heads: num_attention_heads, head_dim },
        num_layers: encoder_layers,
        num_decoder_layers: num_layers(keys, "num_decoder_layers", encoder_layers)?,
        encoder_buckets: buckets(keys, true)?,
        decoder_buckets: buckets(keys, false)?,
        norm: NormConfig { kind: NormKind::Rms { unit_offset: false }, eps: norm_eps },
        mlp: read_mlp(keys, defaults)?,
        scale_decoder_outputs: false,
        decoder_start_token_id: token("decoder_start_token_id", defaults.decoder_start_token_id)?,
        pad_token_id: token("pad_token_id", Some(0))?,
        eos_token_id: if keys.has("eos_token_id") { keys.token_ids("eos_token_id")? } else { vec![1] },
        dtype: read_dtype(keys)?,
    })
}

fn buckets(keys: &Keys<'_>, bidirectional: bool) -> Result<RelativeBuckets> {
    const MAX_BUCKETS: usize = 1 << 16;
    let num_buckets = keys.bounded_size("relative_attention_num_buckets", 32, MAX_BUCKETS)?;
    let max_distance = keys.size("relative_attention_max_distance", 128)?;
    RelativeBuckets::new(num_buckets, max_distance, bidirectional)
        .map_err(|error| keys.unsupported("relative_attention_num_buckets", error.to_string()))
}

/// `feed_forward_proj` is `{activation}` or `gated-{activation}`; what transformers derives from it is in newer files too
/// and has precedence.
fn read_mlp(keys: &Keys<'_>, defaults: &Defaults) -> Result<MlpConfig> {
    const KEY: &str = "feed_forward_proj";
    let name = keys.text(KEY)?.unwrap_or(defaults.feed_forward_proj);
    let (is_gated, derived) = match name.split_once('-') {
        None => (false, name),
        // The first files of T5 1.1 say `gelu` and mean its approximation.
        Some(("gated", "gelu")) => (true, "gelu_new"),
        Some(("gated", activation)) if !activation.contains('-') => (true, activation),
        Some(_) => return Err(keys.refuse(KEY, "an activation, or `gated-` before one")),
    };
    let given = keys.text("dense_act_fn")?;
    let activation: Activation = given.unwrap_or(derived).parse().map_err(|error: <Activation as FromStr>::Err| {
        keys.unsupported(if given.is_some() { "dense_act_fn" } else { KEY }, error.to_string())
    })?;
    let input = match keys.flag("is_gated_act", is_gated)? {
        true => MlpInput::Gated { gate: "DenseReluDense.wi_0", up: "DenseReluDense.wi_1" },
        false => MlpInput::Plain { up: "DenseReluDense.wi" },
    };
    Ok(MlpConfig { input, output: "DenseReluDense.wo", bias: false, layout: Layout::OutIn, activation })
}
