//! `adapter_config.json` of trainable tokens.

use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::modules::ModuleNames;
use crate::{PeftError, Warnings};

/// A configuration of trainable tokens under PEFT's names. [`TrainableTokensConfig::default`] has PEFT's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainableTokensConfig {
    /// What every method has.
    pub common: Common,
    /// The tokens whose rows are trained.
    pub token_indices: Vec<u32>,
    /// The embeddings that they are rows of; `None` takes the model's input embedding.
    pub target_modules: Option<ModuleNames>,
    /// Whether the rows start as the base's; otherwise they are normal, which PEFT discourages.
    pub init_weights: bool,
}

impl Default for TrainableTokensConfig {
    fn default() -> Self {
        Self { common: Common::default(), token_indices: Vec::new(), target_modules: None, init_weights: true }
    }
}

impl TrainableTokensConfig {
    /// PEFT's name of the method.
    pub const PEFT_TYPE: &'static str = "TRAINABLE_TOKENS";

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        let config = Self {
            common: Common::read(&mut fields)?,
            token_indices: fields.take("token_indices")?.unwrap_or_default(),
            target_modules: fields.take("target_modules")?,
            init_weights: fields.take("init_weights")?.unwrap_or(true),
        };
        Ok((config, fields.finish()))
    }

    /// The file's object.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, Self::PEFT_TYPE);
        json.insert("init_weights".to_owned(), json!(self.init_weights));
        json.insert("target_modules".to_owned(), json!(self.target_modules.as_ref().map(ModuleNames::sorted)));
        json.insert("token_indices".to_owned(), json!(self.token_indices));
        Value::Object(json)
    }
}
