//! `adapter_config.json` of an AdaLoRA adapter: LoRA's keys and its own.

use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::lora::{InitLoraWeights, LoraConfig, MAX_RANK};
use crate::{PeftError, Warnings};

/// Which singular values of each module are left, by the name of its `lora_E` in the model.
pub type RankPattern = Vec<(String, Vec<bool>)>;

/// An AdaLoRA configuration under PEFT's names. [`AdaLoraConfig::new`] has PEFT's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaLoraConfig {
    /// What it has in common with LoRA. Its `r`, patterns and `use_rslora` mean nothing here.
    pub lora: LoraConfig,
    /// Singular values that a module is left with on average.
    pub target_r: usize,
    /// Singular values that every module starts with.
    pub init_r: usize,
    /// Steps before the budget begins to fall.
    pub tinit: u64,
    /// Steps at the end in which it stays.
    pub tfinal: u64,
    /// Steps between two distributions; `deltaT` in the file.
    pub delta_t: u64,
    /// Decay of the mean of importances.
    pub beta1: f64,
    /// Decay of the mean of their deviations.
    pub beta2: f64,
    /// Factor of the penalty.
    pub orth_reg_weight: f64,
    /// Steps of the training.
    pub total_step: u64,
    /// How ranks are distributed; `None` before they are.
    pub rank_pattern: Option<RankPattern>,
}

impl AdaLoraConfig {
    /// PEFT's name of the method.
    pub const PEFT_TYPE: &'static str = "ADALORA";

    /// PEFT's defaults for a training of `total_step` steps.
    pub fn new(total_step: u64) -> Self {
        Self {
            lora: LoraConfig::default(),
            target_r: 8,
            init_r: 12,
            tinit: 0,
            tfinal: 0,
            delta_t: 1,
            beta1: 0.85,
            beta2: 0.85,
            orth_reg_weight: 0.5,
            total_step,
            rank_pattern: None,
        }
    }

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        let total_step: Option<u64> = fields.take("total_step")?;
        let default = Self::new(total_step.ok_or_else(|| fields.wrong("total_step", "is missing"))?);
        let own = Self {
            target_r: fields.take("target_r")?.unwrap_or(default.target_r),
            init_r: fields.take("init_r")?.unwrap_or(default.init_r),
            tinit: fields.take("tinit")?.unwrap_or(default.tinit),
            tfinal: fields.take("tfinal")?.unwrap_or(default.tfinal),
            delta_t: fields.take("deltaT")?.unwrap_or(default.delta_t),
            beta1: fields.take("beta1")?.unwrap_or(default.beta1),
            beta2: fields.take("beta2")?.unwrap_or(default.beta2),
            orth_reg_weight: fields.take("orth_reg_weight")?.unwrap_or(default.orth_reg_weight),
            rank_pattern: rank_pattern(&mut fields)?,
            ..default
        };
        own.check_own().map_err(|(key, reason)| fields.wrong(key, reason))?;
        // PEFT reads these and does nothing with them.
        for key in ["r", "alpha_pattern", "use_rslora", "lora_bias"] {
            fields.ignore(key);
        }
        for key in ["use_dora", "loftq_config", "trainable_token_indices"] {
            fields.refuse(key)?;
        }
        // Every word for a start that LoRA has means its own here.
        let is_random = fields.take::<Value>("init_lora_weights")? == Some(json!(false));
        let (mut lora, warnings) = LoraConfig::read(fields)?;
        if is_random {
            lora.init_lora_weights = InitLoraWeights::Random;
        }
        Ok((Self { lora, ..own }, warnings))
    }

    /// Checks that values are in range and go together: the key that is wrong, and why.
    ///
    /// # Errors
    /// The first key whose value cannot be used, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let plain = |init| matches!(init, InitLoraWeights::Default | InitLoraWeights::Random);
        if self.lora.use_dora || !plain(self.lora.init_lora_weights) {
            let key = if self.lora.use_dora { "use_dora" } else { "init_lora_weights" };
            return Err((key, "does not go together with AdaLoRA".to_owned()));
        }
        self.lora.check()?;
        self.check_own()
    }

    fn check_own(&self) -> Result<(), (&'static str, String)> {
        for (key, rank) in [("init_r", self.init_r), ("target_r", self.target_r)] {
            if !(1..=MAX_RANK).contains(&rank) {
                return Err((key, format!("must be at least 1 and at most {MAX_RANK}, got {rank}")));
            }
        }
        if self.target_r > self.init_r {
            return Err(("target_r", format!("is {}, more than the init_r of {}", self.target_r, self.init_r)));
        }
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(beta > 0.0 && beta < 1.0) {
                return Err((key, format!("expected 0 < {key} < 1, got {beta}")));
            }
        }
        if self.orth_reg_weight < 0.0 || !(self.orth_reg_weight as f32).is_finite() {
            let reason = format!("expected a finite number that is not negative, got {}", self.orth_reg_weight);
            return Err(("orth_reg_weight", reason));
        }
        if self.delta_t == 0 {
            return Err(("deltaT", "expected at least 1 step between two distributions, got 0".to_owned()));
        }
        if self.tinit.saturating_add(self.tfinal) >= self.total_step {
            let (tinit, tfinal, total) = (self.tinit, self.tfinal, self.total_step);
            let reason = format!(
                "{tinit} steps before the budget falls and {tfinal} (tfinal) after it leave none of {total} (total_step) \
                 in which it does; lower them"
            );
            return Err(("tinit", reason));
        }
        match self.rank_pattern.iter().flatten().find(|(_, kept)| kept.len() != self.init_r) {
            None => Ok(()),
            Some((name, kept)) => {
                let reason = format!("{name:?} has {} entries, expected init_r = {}", kept.len(), self.init_r);
                Err(("rank_pattern", reason))
            }
        }
    }

    /// The file's object. `fan_in_fan_out` says whether the adapted weights are stored `[in, out]`, as GPT-2's are.
    pub(crate) fn to_json(&self, fan_in_fan_out: bool) -> Value {
        let mut json = match self.lora.to_json(fan_in_fan_out) {
            Value::Object(json) => json,
            _ => Map::new(),
        };
        let pattern = |pattern: &RankPattern| pattern.iter().map(|(name, kept)| (name.clone(), json!(kept))).collect();
        let own = [
            ("peft_type", json!(Self::PEFT_TYPE)),
            ("target_r", json!(self.target_r)),
            ("init_r", json!(self.init_r)),
            ("tinit", json!(self.tinit)),
            ("tfinal", json!(self.tfinal)),
            ("deltaT", json!(self.delta_t)),
            ("beta1", json!(self.beta1)),
            ("beta2", json!(self.beta2)),
            ("orth_reg_weight", json!(self.orth_reg_weight)),
            ("total_step", json!(self.total_step)),
            ("rank_pattern", self.rank_pattern.as_ref().map(pattern).map_or(Value::Null, Value::Object)),
        ];
        json.extend(own.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(json)
    }
}

/// The pattern, without the name that the adapter had while it was trained.
fn rank_pattern(fields: &mut Fields) -> Result<Option<RankPattern>, PeftError> {
    let Some(map) = fields.take::<Map<String, Value>>("rank_pattern")? else { return Ok(None) };
    let entry = |(name, kept): (String, Value)| match serde_json::from_value(kept) {
        Ok(kept) => Ok((crate::names::without_adapter_name(&name), kept)),
        Err(error) => Err(fields.wrong("rank_pattern", format!("{name:?}: {error}"))),
    };
    map.into_iter().map(entry).collect::<Result<_, _>>().map(Some)
}
