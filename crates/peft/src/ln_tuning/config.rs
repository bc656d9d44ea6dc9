//! `adapter_config.json` of LN tuning.

use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::modules::ModuleNames;
use crate::{PeftError, Warnings};

/// A configuration of LN tuning under PEFT's names. [`LnTuningConfig::default`] has PEFT's defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LnTuningConfig {
    /// What every method has.
    pub common: Common,
    /// Modules to train; `None` takes the default of the model's family.
    pub target_modules: Option<ModuleNames>,
    /// Modules not to train even so.
    pub exclude_modules: Option<ModuleNames>,
    /// Modules trained and saved beside them, such as the head of a classifier.
    pub modules_to_save: Option<Vec<String>>,
}

impl LnTuningConfig {
    /// PEFT's name of the method.
    pub const PEFT_TYPE: &'static str = "LN_TUNING";

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        let config = Self {
            common: Common::read(&mut fields)?,
            target_modules: fields.take("target_modules")?,
            exclude_modules: fields.take("exclude_modules")?,
            modules_to_save: fields.take("modules_to_save")?,
        };
        Ok((config, fields.finish()))
    }

    /// The file's object.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, Self::PEFT_TYPE);
        json.insert("modules_to_save".to_owned(), json!(self.modules_to_save));
        json.insert("target_modules".to_owned(), json!(self.target_modules.as_ref().map(ModuleNames::sorted)));
        // Younger than the others: written only when it says something, so that every release reads the file.
        if let Some(excluded) = self.exclude_modules.as_ref().filter(|names| !names.is_empty()) {
            json.insert("exclude_modules".to_owned(), json!(excluded.sorted()));
        }
        Value::Object(json)
    }
}
