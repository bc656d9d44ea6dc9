//! `config.json` of a Hugging Face model directory.

use std::path::Path;

use checkpoint::read_json;
use serde_json::{Map, Value};

use super::{DecoderConfig, Keys, check_quantization};
use crate::families::{EncoderDecoderFamily, EncoderFamily, Family, VisionFamily, supported};
use crate::{ModelError, Result};

/// The file that describes a model.
pub const CONFIG_FILE: &str = "config.json";

/// The largest file that is read: a vocabulary of labels may stand in it, weights may not.
pub(super) const MAX_BYTES: u64 = 16 << 20;

impl DecoderConfig {
    /// Reads the `config.json` of the model in `dir`, as transformers 4 or 5 wrote it. A key that is absent has the value
    /// that transformers' class of the family gives it.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`] if there is no such file or it is not JSON, [`ModelError::UnsupportedFamily`], and
    /// [`ModelError::Key`], [`ModelError::MissingKey`] or [`ModelError::Unsupported`] for a key that cannot be used.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        Self::from_json(&path, &read_json(&path, MAX_BYTES)?)
    }

    /// Reads the content of a `config.json`; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`DecoderConfig::read`].
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self> {
        let keys = Keys::new(path, json);
        check_quantization(&keys)?;
        let model_type = keys.model_type(&supported)?;
        let Some(family) = Family::find(model_type) else {
            return Err(ModelError::UnsupportedFamily {
                path: path.to_owned(),
                got: model_type.to_owned(),
                supported: supported(),
                hint: hint(model_type),
            });
        };
        (family.read)(&keys)
    }
}

/// What else could be meant by a `model_type` that is no decoder's.
fn hint(model_type: &str) -> &'static str {
    match model_type {
        "gemma3" => "; of gemma3 the text part alone is, as gemma3_text",
        _ if EncoderFamily::find(model_type).is_some() => "; it is an encoder, for task_type SEQ_CLS or TOKEN_CLS",
        _ if EncoderDecoderFamily::find(model_type).is_some() => {
            "; it is an encoder-decoder, for task_type SEQ_2_SEQ_LM"
        }
        _ if VisionFamily::find(model_type).is_some() => "; it is a model of images, for task_type IMAGE_CLS",
        _ => "",
    }
}
