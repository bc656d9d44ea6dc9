//! What most families spell alike, read with the defaults of one of them.

use std::str::FromStr;

use device::DType;
use tensor::Activation;

use super::{Heads, Keys};
use crate::Result;
use crate::rope::{RopeConfig, RopeContext, flat_parameters};

/// The most blocks that a file may ask for: modules are listed before a tensor is looked at.
const MAX_LAYERS: usize = 4096;

/// The widest row of a token anywhere in a block. It keeps every product of sizes far from overflow, and no model comes near
/// it.
pub(crate) const MAX_WIDTH: usize = 1 << 20;

/// What transformers assumes where a file says nothing.
pub(crate) struct Defaults {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    /// `None`: as many as there are attention heads.
    pub(crate) num_key_value_heads: Option<usize>,
    /// `None`: `hidden_size / num_attention_heads`.
    pub(crate) head_dim: Option<usize>,
    pub(crate) max_position_embeddings: usize,
    pub(crate) norm_eps: f64,
    /// The key of the activation, and its default.
    pub(crate) activation: (&'static str, &'static str),
    pub(crate) tie_word_embeddings: bool,
    pub(crate) pad_token_id: Option<i64>,
    /// Whether `hidden_size` has to be a multiple of `num_attention_heads` even where `head_dim` is given.
    pub(crate) even_heads: bool,
}

/// The values of [`Defaults`]' keys.
pub(crate) struct Common {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) heads: Heads,
    pub(crate) max_position_embeddings: usize,
    pub(crate) norm_eps: f32,
    pub(crate) activation: Activation,
    pub(crate) tie_word_embeddings: bool,
    pub(crate) padding_idx: Option<u32>,
    pub(crate) eos_token_id: Vec<u32>,
    pub(crate) dtype: Option<DType>,
}

impl Common {
    /// Reads the keys that Llama and its descendants share.
    pub(crate) fn read(keys: &Keys<'_>, defaults: &Defaults) -> Result<Self> {
        let hidden_size = width(keys, "hidden_size", defaults.hidden_size)?;
        let vocab_size = keys.size("vocab_size", defaults.vocab_size)?;
        Ok(Self {
            vocab_size,
            hidden_size,
            intermediate_size: width(keys, "intermediate_size", defaults.intermediate_size)?,
            num_hidden_layers: num_layers(keys, "num_hidden_layers", defaults.num_hidden_layers)?,
            heads: read_heads(keys, hidden_size, defaults)?,
            max_position_embeddings: keys.size("max_position_embeddings", defaults.max_position_embeddings)?,
            norm_eps: keys.positive("rms_norm_eps", defaults.norm_eps)? as f32,
            activation: read_activation(keys, defaults.activation.0, defaults.activation.1)?,
            tie_word_embeddings: keys.flag("tie_word_embeddings", defaults.tie_word_embeddings)?,
            padding_idx: padding_idx(keys.nullable_integer("pad_token_id", defaults.pad_token_id)?, vocab_size),
            eos_token_id: keys.token_ids("eos_token_id")?,
            dtype: read_dtype(keys)?,
        })
    }

    /// The rotation of a family that has one for all layers and whole heads.
    pub(crate) fn rope(&self, keys: &Keys<'_>) -> Result<RopeConfig> {
        RopeConfig::read(
            &flat_parameters(keys)?,
            RopeContext {
                theta: keys.positive("rope_theta", 10000.0)?,
                partial_rotary_factor: keys.positive("partial_rotary_factor", 1.0)?,
                partial: false,
                head_dim: self.heads.head_dim,
                max_position_embeddings: self.max_position_embeddings,
                original_max_position_embeddings: keys.optional_size("original_max_position_embeddings")?,
            },
        )
    }
}

/// The row of the table that `pad_token_id` names: a negative one counts from the end, as -1 in the first Llama files. One
/// outside the table names none.
pub(crate) fn padding_idx(pad_token_id: Option<i64>, vocab_size: usize) -> Option<u32> {
    let id = pad_token_id.map(|id| if id < 0 { id.saturating_add_unsigned(vocab_size as u64) } else { id })?;
    u32::try_from(id).ok().filter(|&id| (id as usize) < vocab_size)
}

/// The elements of a token's row in some place of a block.
pub(crate) fn width(keys: &Keys<'_>, key: &str, default: usize) -> Result<usize> {
    keys.bounded_size(key, default, MAX_WIDTH)
}

/// The number of blocks.
pub(crate) fn num_layers(keys: &Keys<'_>, key: &str, default: usize) -> Result<usize> {
    keys.bounded_size(key, default, MAX_LAYERS)
}

/// An activation function by its Hugging Face name.
pub(crate) fn read_activation(keys: &Keys<'_>, key: &str, default: &str) -> Result<Activation> {
    let name = keys.text(key)?.unwrap_or(default);
    name.parse().map_err(|error: <Activation as FromStr>::Err| keys.unsupported(key, error.to_string()))
}

/// `dtype` or, as it was called, `torch_dtype`; what is not a dtype of weights says nothing.
pub(crate) fn read_dtype(keys: &Keys<'_>) -> Result<Option<DType>> {
    let name = match keys.text("dtype")? {
        Some(name) => Some(name),
        None => keys.text("torch_dtype")?,
    };
    Ok([DType::F32, DType::BF16, DType::F16].into_iter().find(|dtype| Some(dtype.name()) == name))
}

/// The size of a head where it follows from the others.
pub(crate) fn even_head_dim(keys: &Keys<'_>, key: &str, hidden_size: usize, num_heads: usize) -> Result<usize> {
    if hidden_size.is_multiple_of(num_heads) {
        Ok(hidden_size / num_heads)
    } else {
        Err(keys.refuse(key, format!("a multiple of the number of attention heads, {num_heads}")))
    }
}

fn read_heads(keys: &Keys<'_>, hidden_size: usize, defaults: &Defaults) -> Result<Heads> {
    let num_attention_heads = width(keys, "num_attention_heads", defaults.num_attention_heads)?;
    let num_key_value_heads = match defaults.num_key_value_heads {
        Some(absent) => keys.nullable_size("num_key_value_heads", absent)?,
        None => keys.optional_size("num_key_value_heads")?,
    };
    let num_key_value_heads = num_key_value_heads.unwrap_or(num_attention_heads);
    if !num_attention_heads.is_multiple_of(num_key_value_heads) {
        let expected = format!("a divisor of the number of attention heads, {num_attention_heads}");
        return Err(keys.refuse("num_key_value_heads", expected));
    }
    let head_dim = match keys.optional_size("head_dim")?.or(defaults.head_dim) {
        Some(head_dim) if !defaults.even_heads => head_dim,
        Some(head_dim) => even_head_dim(keys, "hidden_size", hidden_size, num_attention_heads).map(|_| head_dim)?,
        None => even_head_dim(keys, "hidden_size", hidden_size, num_attention_heads)?,
    };
    if head_dim > MAX_WIDTH / num_attention_heads {
        return Err(keys.refuse("head_dim", format!("at most {MAX_WIDTH} by the number of attention heads")));
    }
    Ok(Heads { num_attention_heads, num_key_value_heads, head_dim })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_padding_token_counts_from_the_end() {
        let rows = [None, Some(0), Some(-1), Some(-8), Some(-9), Some(8), Some(i64::MIN)].map(|id| padding_idx(id, 8));
        assert_eq!(rows, [None, Some(0), Some(7), Some(0), None, None, None]);
    }
}
