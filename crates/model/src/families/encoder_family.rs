//! The families of encoders.

use super::{bert, distilbert, roberta};
use crate::Result;
use crate::config::{EncoderConfig, Keys};

/// A family of encoders of text.
#[derive(Debug)]
pub struct EncoderFamily {
    /// What `config.json` calls it.
    pub model_type: &'static str,
    /// The class of transformers without a head.
    pub architecture: &'static str,
    /// Starts of the names of tensors that only other heads than the model's have.
    pub(crate) other_heads: &'static [&'static str],
    /// Maps the keys of the configuration to the parts of an encoder.
    pub(crate) read: fn(&Keys<'_>) -> Result<EncoderConfig>,
}

static FAMILIES: [&EncoderFamily; 4] = [&bert::FAMILY, &distilbert::FAMILY, &roberta::FAMILY, &roberta::XLM];

impl EncoderFamily {
    /// Every family, in alphabetical order.
    pub fn all() -> impl ExactSizeIterator<Item = &'static EncoderFamily> {
        FAMILIES.into_iter()
    }

    /// The family of a `model_type`.
    pub fn find(model_type: &str) -> Option<&'static EncoderFamily> {
        Self::all().find(|family| family.model_type == model_type)
    }

    /// The names of all families, for a message.
    pub(crate) fn supported() -> String {
        Self::all().map(|family| family.model_type).collect::<Vec<_>>().join(", ")
    }
}
