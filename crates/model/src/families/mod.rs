//! The families of models, a file each: which keys of the configuration say what, and what the modules are called.
//!
//! A new family is one file here and one line in the table of its kind: decoders below, encoders in `encoder_family`,
//! models of images in `vision_family`.

mod bert;
mod deit;
mod distilbert;
mod encoder_decoder_family;
mod encoder_family;
mod gemma;
mod gemma2;
mod gemma3_text;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod roberta;
mod t5;
mod vision_family;
mod vit;

use crate::Result;
use crate::config::{DecoderConfig, Keys};

pub use encoder_decoder_family::EncoderDecoderFamily;
pub use encoder_family::EncoderFamily;
pub use vision_family::VisionFamily;
pub use vit::current_name;

/// A family of decoders.
#[derive(Debug)]
pub struct Family {
    /// What `config.json` calls it.
    pub model_type: &'static str,
    /// The class of transformers that PEFT wraps, as `auto_mapping` of an adapter names it.
    pub architecture: &'static str,
    /// Maps the keys of the configuration to the parts of a decoder.
    pub(crate) read: fn(&Keys<'_>) -> Result<DecoderConfig>,
}

static FAMILIES: [&Family; 10] = [
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3_text::FAMILY,
    &gpt2::FAMILY,
    &gpt_neox::FAMILY,
    &llama::FAMILY,
    &mistral::FAMILY,
    &phi3::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
];

impl Family {
    /// Every family, in alphabetical order.
    pub fn all() -> impl ExactSizeIterator<Item = &'static Family> {
        FAMILIES.into_iter()
    }

    /// The family of a `model_type`.
    pub fn find(model_type: &str) -> Option<&'static Family> {
        Self::all().find(|family| family.model_type == model_type)
    }
}

/// The names of all families, for a message.
pub(crate) fn supported() -> String {
    Family::all().map(|family| family.model_type).collect::<Vec<_>>().join(", ")
}
