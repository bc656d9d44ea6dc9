//! The families of encoder-decoders.

use super::t5;
use crate::Result;
use crate::config::{EncoderDecoderConfig, Keys};

/// A family of encoder-decoders.
#[derive(Debug)]
pub struct EncoderDecoderFamily {
    /// What `config.json` calls it.
    pub model_type: &'static str,
    /// The class of transformers that PEFT wraps.
    pub architecture: &'static str,
    /// Maps the keys of the configuration to the parts of the model.
    pub(crate) read: fn(&'static Self, &Keys<'_>) -> Result<EncoderDecoderConfig>,
}

static FAMILIES: [&EncoderDecoderFamily; 2] = [&t5::MT5, &t5::T5];

impl EncoderDecoderFamily {
    /// Every family, in alphabetical order.
    pub fn all() -> impl ExactSizeIterator<Item = &'static Self> {
        FAMILIES.into_iter()
    }

    /// The family of a `model_type`.
    pub fn find(model_type: &str) -> Option<&'static Self> {
        Self::all().find(|family| family.model_type == model_type)
    }

    /// The names of all families, for a message.
    pub(crate) fn supported() -> String {
        Self::all().map(|family| family.model_type).collect::<Vec<_>>().join(", ")
    }
}
