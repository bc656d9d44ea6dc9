//! `adapter_config.json` of a VeRA adapter.

use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::lora::{Bias, MAX_RANK};
use crate::modules::{ModuleNames, OneOrMany};
use crate::{PeftError, Warnings};

/// A VeRA configuration under PEFT's names. [`VeraConfig::default`] has PEFT's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct VeraConfig {
    /// What every method has.
    pub common: Common,
    /// Rows of A and columns of B.
    pub r: usize,
    /// Modules to adapt; `None` takes the default of the model's family.
    pub target_modules: Option<ModuleNames>,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Option<Vec<String>>,
    /// Layers to adapt; `None` adapts all.
    pub layers_to_transform: Option<OneOrMany<usize>>,
    /// Names of the list of layers in which those indices count.
    pub layers_pattern: Option<OneOrMany<String>>,
    /// What A and B are drawn from.
    pub projection_prng_key: u64,
    /// Whether they are saved with the adapter.
    pub save_projection: bool,
    /// Probability with which an input element of A is dropped in training.
    pub vera_dropout: f64,
    /// Where lambda_d starts.
    pub d_initial: f64,
    /// Which biases of the model are trained; PEFT's word for those of adapted modules is `vera_only`.
    pub bias: Bias,
    /// Whether the vectors start as said; otherwise lambda_b is one and lambda_d normal, which PEFT discourages.
    pub init_weights: bool,
}

impl Default for VeraConfig {
    fn default() -> Self {
        Self {
            common: Common::default(),
            r: 256,
            target_modules: None,
            modules_to_save: None,
            layers_to_transform: None,
            layers_pattern: None,
            projection_prng_key: 0,
            save_projection: true,
            vera_dropout: 0.0,
            d_initial: 0.1,
            bias: Bias::None,
            init_weights: true,
        }
    }
}

impl VeraConfig {
    /// PEFT's name of the method.
    pub const PEFT_TYPE: &'static str = "VERA";

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        fields.ignore("fan_in_fan_out");
        let default = Self::default();
        let bias = match fields.take::<String>("bias")?.as_deref() {
            None | Some("none") => Bias::None,
            Some("all") => Bias::All,
            Some("vera_only") => Bias::LoraOnly,
            Some(other) => {
                let reason = format!("expected \"none\", \"all\" or \"vera_only\", got {other:?}");
                return Err(fields.wrong("bias", reason));
            }
        };
        let config = Self {
            common: Common::read(&mut fields)?,
            r: fields.take("r")?.unwrap_or(default.r),
            target_modules: fields.take("target_modules")?,
            modules_to_save: fields.take("modules_to_save")?,
            layers_to_transform: fields.take("layers_to_transform")?,
            layers_pattern: fields.take("layers_pattern")?,
            projection_prng_key: fields.take("projection_prng_key")?.unwrap_or(default.projection_prng_key),
            save_projection: fields.take("save_projection")?.unwrap_or(default.save_projection),
            vera_dropout: fields.take("vera_dropout")?.unwrap_or(default.vera_dropout),
            d_initial: fields.take("d_initial")?.unwrap_or(default.d_initial),
            bias,
            init_weights: fields.take("init_weights")?.unwrap_or(default.init_weights),
        };
        config.check().map_err(|(key, reason)| fields.wrong(key, reason))?;
        Ok((config, fields.finish()))
    }

    /// Checks that values are in range and go together: the key that is wrong, and why.
    ///
    /// # Errors
    /// The first key whose value cannot be used, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=MAX_RANK).contains(&self.r) {
            return Err(("r", format!("the rank must be at least 1 and at most {MAX_RANK}, got {}", self.r)));
        }
        // Used in f32, where a finite f64 may be infinite and one below 1 may be 1.
        if !(0.0..1.0).contains(&(self.vera_dropout as f32)) {
            return Err(("vera_dropout", format!("expected 0 <= dropout < 1, got {}", self.vera_dropout)));
        }
        if !(self.d_initial as f32).is_finite() {
            return Err(("d_initial", format!("expected a finite number below 3.4e38, got {:e}", self.d_initial)));
        }
        if matches!(self.target_modules, Some(ModuleNames::Pattern(_))) && self.layers_to_transform.is_some() {
            let reason = "needs target_modules as a list of names; a pattern selects layers by itself";
            return Err(("layers_to_transform", reason.to_owned()));
        }
        if self.layers_pattern.as_ref().is_some_and(|p| !p.as_slice().is_empty()) && self.layers_to_transform.is_none()
        {
            return Err(("layers_pattern", "needs layers_to_transform as well".to_owned()));
        }
        Ok(())
    }

    /// The file's object. `fan_in_fan_out` says whether the adapted weights are stored `[in, out]`, as GPT-2's are.
    pub(crate) fn to_json(&self, fan_in_fan_out: bool) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, Self::PEFT_TYPE);
        let bias = match self.bias {
            Bias::None => "none",
            Bias::All => "all",
            Bias::LoraOnly => "vera_only",
        };
        let always = [
            ("bias", json!(bias)),
            ("d_initial", json!(self.d_initial)),
            ("fan_in_fan_out", json!(fan_in_fan_out)),
            ("init_weights", json!(self.init_weights)),
            ("layers_pattern", json!(self.layers_pattern)),
            ("layers_to_transform", json!(self.layers_to_transform)),
            ("modules_to_save", json!(self.modules_to_save)),
            ("projection_prng_key", json!(self.projection_prng_key)),
            ("r", json!(self.r)),
            ("save_projection", json!(self.save_projection)),
            ("target_modules", json!(self.target_modules.as_ref().map(ModuleNames::sorted))),
            ("vera_dropout", json!(self.vera_dropout)),
        ];
        json.extend(always.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(json)
    }
}
