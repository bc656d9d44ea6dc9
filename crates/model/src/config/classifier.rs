//! A classifier as data: an encoder or a decoder, and the classes that its file names.

use std::path::Path;

use checkpoint::read_json;
use device::DType;
use serde_json::{Map, Value};

use super::read::MAX_BYTES;
use super::{CONFIG_FILE, DecoderConfig, EncoderConfig, Keys, Labels, check_quantization};
use crate::families::{EncoderFamily, Family, supported};
use crate::{Dimensions, ModelError, Result};

/// A model under a classifier.
#[derive(Clone, Debug)]
pub struct ClassifierConfig {
    /// The model.
    pub trunk: TrunkConfig,
    /// The classes of `id2label`, or two.
    pub labels: Labels,
    /// The standard deviation of a new head's weights.
    pub initializer_range: f32,
    /// The token that is no part of a text: a decoder classifies the last other one.
    pub pad_token_id: Option<u32>,
}

/// What a classifier stands on.
#[derive(Clone, Debug)]
pub enum TrunkConfig {
    /// Every token sees the whole text.
    Encoder(EncoderConfig),
    /// A token sees those before it.
    Decoder(DecoderConfig),
}

impl ClassifierConfig {
    /// Reads the `config.json` of the model in `dir`, as transformers 4 or 5 wrote it.
    ///
    /// # Errors
    /// As [`DecoderConfig::read`].
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        Self::from_json(&path, &read_json(&path, MAX_BYTES)?)
    }

    /// Reads the content of a `config.json`; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`ClassifierConfig::read`].
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self> {
        let keys = Keys::new(path, json);
        let all = || format!("{}, {}", EncoderFamily::supported(), supported());
        check_quantization(&keys)?;
        let model_type = keys.model_type(&all)?;
        let (trunk, padding_idx) = if EncoderFamily::find(model_type).is_some() {
            let config = EncoderConfig::from_json(path, json)?;
            let padding_idx = config.embeddings.padding_idx;
            (TrunkConfig::Encoder(config), padding_idx)
        } else if Family::find(model_type).is_some() {
            let config = DecoderConfig::from_json(path, json)?;
            let padding_idx = config.padding_idx;
            (TrunkConfig::Decoder(config), padding_idx)
        } else {
            let (path, got) = (path.to_owned(), model_type.to_owned());
            return Err(ModelError::UnsupportedFamily { path, got, supported: all(), hint: "" });
        };
        let pad_token_id = keys.nullable_integer("pad_token_id", padding_idx.map(i64::from))?;
        Ok(Self {
            trunk,
            labels: Labels::read(&keys)?,
            initializer_range: keys.positive("initializer_range", 0.02)? as f32,
            pad_token_id: pad_token_id.and_then(|id| u32::try_from(id).ok()),
        })
    }

    /// The dtype that the file says the weights are meant for.
    pub fn dtype(&self) -> Option<DType> {
        match &self.trunk {
            TrunkConfig::Encoder(config) => config.dtype,
            TrunkConfig::Decoder(config) => config.dtype,
        }
    }

    /// Its sizes, as every kind of model has them.
    pub fn dimensions(&self) -> Dimensions {
        match &self.trunk {
            TrunkConfig::Encoder(config) => config.dimensions(),
            TrunkConfig::Decoder(config) => config.dimensions(),
        }
    }
}
