//! `adapter_config.json` of an (IA)^3 adapter.

use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::modules::ModuleNames;
use crate::{PeftError, Warnings};

/// An (IA)^3 configuration under PEFT's names. [`Ia3Config::default`] has PEFT's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Ia3Config {
    /// What every method has.
    pub common: Common,
    /// Modules to scale; `None` takes the default of the model's family.
    pub target_modules: Option<ModuleNames>,
    /// Modules not to scale even so.
    pub exclude_modules: Option<ModuleNames>,
    /// Those of them whose inputs are scaled and not their outputs; `None` takes the default of the model's family. A list
    /// holds ends of names, without a dot before them: BERT's `output.dense` means `attention.output.dense` too.
    pub feedforward_modules: Option<ModuleNames>,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Option<Vec<String>>,
    /// Whether the factors start as ones; otherwise they are normal, which PEFT discourages.
    pub init_ia3_weights: bool,
}

impl Default for Ia3Config {
    fn default() -> Self {
        Self {
            common: Common::default(),
            target_modules: None,
            exclude_modules: None,
            feedforward_modules: None,
            modules_to_save: None,
            init_ia3_weights: true,
        }
    }
}

impl Ia3Config {
    /// PEFT's name of the method.
    pub const PEFT_TYPE: &'static str = "IA3";

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        fields.ignore("fan_in_fan_out");
        let config = Self {
            common: Common::read(&mut fields)?,
            target_modules: fields.take("target_modules")?,
            exclude_modules: fields.take("exclude_modules")?,
            feedforward_modules: fields.take("feedforward_modules")?,
            modules_to_save: fields.take("modules_to_save")?,
            init_ia3_weights: fields.take("init_ia3_weights")?.unwrap_or(true),
        };
        config.check().map_err(|(key, reason)| fields.wrong(key, reason))?;
        Ok((config, fields.finish()))
    }

    /// Checks that values go together: the key that is wrong, and why.
    ///
    /// # Errors
    /// The first key whose value cannot be used, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let (Some(ModuleNames::List(targets)), Some(ModuleNames::List(feedforward))) =
            (&self.target_modules, &self.feedforward_modules)
        else {
            return Ok(());
        };
        match feedforward.iter().find(|name| !targets.contains(name)) {
            None => Ok(()),
            Some(name) => {
                Err(("feedforward_modules", format!("{name:?} is not among target_modules, and only those are scaled")))
            }
        }
    }

    /// The file's object. `fan_in_fan_out` says whether the scaled weights are stored `[in, out]`, as GPT-2's are.
    pub(crate) fn to_json(&self, fan_in_fan_out: bool) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, Self::PEFT_TYPE);
        let sorted = |names: &Option<ModuleNames>| json!(names.as_ref().map(ModuleNames::sorted));
        let always = [
            ("fan_in_fan_out", json!(fan_in_fan_out)),
            ("feedforward_modules", sorted(&self.feedforward_modules)),
            ("init_ia3_weights", json!(self.init_ia3_weights)),
            ("modules_to_save", json!(self.modules_to_save)),
            ("target_modules", sorted(&self.target_modules)),
        ];
        json.extend(always.map(|(key, value)| (key.to_owned(), value)));
        // Younger than the others: written only when it says something, so that every release reads the file.
        if let Some(excluded) = self.exclude_modules.as_ref().filter(|names| !names.is_empty()) {
            json.insert("exclude_modules".to_owned(), json!(excluded.sorted()));
        }
        Value::Object(json)
    }
}
