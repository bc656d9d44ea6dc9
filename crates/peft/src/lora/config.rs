//! `adapter_config.json` of a LoRA adapter.
//!
//! PEFT has grown 41 keys here, and old releases refuse those they do not know. So the 24 keys of PEFT 0.10 are always
//! written and a newer key only when it says something. Reading takes any release: a missing key has PEFT's default, a key
//! that turns on what this crate cannot do is refused by name, and an unknown one is reported.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::modules::{ModuleNames, OneOrMany};
use crate::trainable_tokens::TokenIndices;
use crate::{PeftError, Warnings};

/// Keys that change what an adapter computes in ways this crate does not have.
const UNSUPPORTED: [&str; 14] = [
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "kasa_config",
    "layer_replication",
    "lora_ga_config",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];
/// Keys that mean something only together with an unsupported one.
const WITHOUT_EFFECT: [&str; 4] = ["fan_in_fan_out", "loftq_config", "megatron_core", "qalora_group_size"];

/// No weight has a side near this. It keeps every product of sizes far from overflow.
pub(crate) const MAX_RANK: usize = 1 << 20;

/// Iterations of `pissa_niter_[n]` at most.
const MAX_ITERATIONS: u32 = 1000;

/// Which biases are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// Every one of the model.
    All,
    /// Those of adapted modules.
    LoraOnly,
}

/// Where `lora_A` and `lora_B` start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum InitLoraWeights {
    /// `true`: A uniform in +-1/sqrt(in_features), which is `kaiming_uniform_(a=sqrt(5))`, and B zero.
    #[default]
    Default,
    /// `"gaussian"`: A normal with standard deviation 1/r and B zero.
    Gaussian,
    /// `"pissa"`, or `"pissa_niter_[n]"`: the part of the weight's largest singular values, exact or by iteration; it is taken
    /// out of the base.
    Pissa {
        /// How often the weight and its transpose are applied.
        iterations: Option<u32>,
    },
    /// `"olora"`: the leading part of the weight's QR decomposition; it is taken out of the base.
    Olora,
    /// `"orthogonal"`: A and B random with `B A = 0`; the rank has to be even.
    Orthogonal,
    /// `false`: both uniform, so that the adapter changes the model from the start. For tests.
    Random,
}

impl TryFrom<Value> for InitLoraWeights {
    type Error = String;
    fn try_from(value: Value) -> Result<Self, String> {
        match &value {
            Value::Bool(true) => Ok(Self::Default),
            Value::Bool(false) => Ok(Self::Random),
            Value::String(word) if word == "gaussian" => Ok(Self::Gaussian),
            Value::String(word) if word == "pissa" => Ok(Self::Pissa { iterations: None }),
            Value::String(word) if word == "olora" => Ok(Self::Olora),
            Value::String(word) if word == "orthogonal" => Ok(Self::Orthogonal),
            Value::String(word) if word.starts_with("pissa_niter_") => word["pissa_niter_".len()..]
                .parse()
                .ok()
                // Each takes two products with the weight.
                .filter(|iterations| *iterations <= MAX_ITERATIONS)
                .map(|iterations| Self::Pissa { iterations: Some(iterations) })
                .ok_or_else(|| {
                    format!(
                        "expected a number of iterations up to {MAX_ITERATIONS} after \"pissa_niter_\", got {value}"
                    )
                }),
            Value::String(word) if ["corda", "lora_ga"].iter().any(|w| word.starts_with(w)) => Err(format!(
                "{value} changes the base model too; save it in Python with path_initial_model_for_weight_conversion"
            )),
            _ => Err(format!(
                "expected true, false, \"gaussian\", \"orthogonal\", \"pissa\", \"pissa_niter_[n]\" or \"olora\", got {value}"
            )),
        }
    }
}

impl InitLoraWeights {
    /// Whether the adapter starts as a part of the weights.
    pub fn takes_from_base(self) -> bool {
        matches!(self, Self::Pissa { .. } | Self::Olora)
    }
}

impl From<InitLoraWeights> for Value {
    fn from(init: InitLoraWeights) -> Value {
        match init {
            InitLoraWeights::Default => json!(true),
            InitLoraWeights::Gaussian => json!("gaussian"),
            InitLoraWeights::Pissa { iterations: None } => json!("pissa"),
            InitLoraWeights::Pissa { iterations: Some(n) } => json!(format!("pissa_niter_{n}")),
            InitLoraWeights::Olora => json!("olora"),
            InitLoraWeights::Orthogonal => json!("orthogonal"),
            InitLoraWeights::Random => json!(false),
        }
    }
}

/// A LoRA configuration under PEFT's names. [`LoraConfig::default`] has PEFT's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// What every method has.
    pub common: Common,
    /// Rank of the update.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Probability with which an input element of `lora_A` is dropped in training.
    pub lora_dropout: f64,
    /// Modules to adapt; `None` takes the default of the model's family.
    pub target_modules: Option<ModuleNames>,
    /// Modules not to adapt even so.
    pub exclude_modules: Option<ModuleNames>,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Option<Vec<String>>,
    /// Layers to adapt; `None` adapts all.
    pub layers_to_transform: Option<OneOrMany<usize>>,
    /// Names of the list of layers in which those indices count.
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Ranks by regular expression over the end of a module's name; the first match counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// Alphas by regular expression over the end of a module's name; the first match counts.
    pub alpha_pattern: Vec<(String, f64)>,
    /// Which biases of the model are trained.
    pub bias: Bias,
    /// Gives `lora_B` a bias of its own.
    pub lora_bias: bool,
    /// Scales by `lora_alpha / sqrt(r)` instead.
    pub use_rslora: bool,
    /// Trains the norms of the rows of the weights apart from their directions (DoRA).
    pub use_dora: bool,
    /// Where the matrices start.
    pub init_lora_weights: InitLoraWeights,
    /// Tokens whose rows of the embedding are trained beside the matrices.
    pub trainable_token_indices: Option<TokenIndices>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            common: Common::default(),
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            modules_to_save: None,
            layers_to_transform: None,
            layers_pattern: None,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            bias: Bias::None,
            lora_bias: false,
            use_rslora: false,
            use_dora: false,
            init_lora_weights: InitLoraWeights::Default,
            trainable_token_indices: None,
        }
    }
}

impl LoraConfig {
    /// PEFT's name of the method.
    pub const PEFT_TYPE: &'static str = "LORA";

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        for key in UNSUPPORTED {
            fields.refuse(key)?;
        }
        for key in WITHOUT_EFFECT {
            fields.ignore(key);
        }
        let default = Self::default();
        let config = Self {
            common: Common::read(&mut fields)?,
            r: fields.take("r")?.unwrap_or(default.r),
            lora_alpha: fields.take("lora_alpha")?.unwrap_or(default.lora_alpha),
            lora_dropout: fields.take("lora_dropout")?.unwrap_or(default.lora_dropout),
            target_modules: fields.take("target_modules")?,
            exclude_modules: fields.take("exclude_modules")?,
            modules_to_save: fields.take("modules_to_save")?,
            layers_to_transform: fields.take("layers_to_transform")?,
            layers_pattern: fields.take("layers_pattern")?,
            rank_pattern: pattern(&mut fields, "rank_pattern", |value| value.as_u64().map(|r| r as usize))?,
            alpha_pattern: pattern(&mut fields, "alpha_pattern", Value::as_f64)?,
            bias: fields.take("bias")?.unwrap_or_default(),
            lora_bias: fields.take("lora_bias")?.unwrap_or_default(),
            use_rslora: fields.take("use_rslora")?.unwrap_or_default(),
            use_dora: fields.take("use_dora")?.unwrap_or_default(),
            init_lora_weights: fields.take("init_lora_weights")?.unwrap_or_default(),
            trainable_token_indices: fields.take("trainable_token_indices")?,
        };
        config.check().map_err(|(key, reason)| fields.wrong(key, reason))?;
        Ok((config, fields.finish()))
    }

    /// Checks that values are in range and go together: the key that is wrong, and why.
    ///
    /// # Errors
    /// The first key whose value cannot be used, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let ranks = 1..=MAX_RANK;
        if !ranks.contains(&self.r) {
            return Err(("r", format!("the rank must be at least 1 and at most {MAX_RANK}, got {}", self.r)));
        }
        if let Some((key, r)) = self.rank_pattern.iter().find(|(_, r)| !ranks.contains(r)) {
            let reason = format!("the rank of {key:?} must be at least 1 and at most {MAX_RANK}, got {r}");
            return Err(("rank_pattern", reason));
        }
        // Both are used in f32, where a finite f64 may be infinite and one below 1 may be 1.
        if !(self.lora_alpha as f32).is_finite() {
            return Err(("lora_alpha", format!("expected a finite number below 3.4e38, got {:e}", self.lora_alpha)));
        }
        if let Some((key, alpha)) = self.alpha_pattern.iter().find(|(_, alpha)| !(*alpha as f32).is_finite()) {
            return Err(("alpha_pattern", format!("expected a finite number below 3.4e38 for {key:?}, got {alpha:e}")));
        }
        if !(0.0..1.0).contains(&(self.lora_dropout as f32)) {
            return Err(("lora_dropout", format!("expected 0 <= dropout < 1, got {}", self.lora_dropout)));
        }
        self.check_init()?;
        if self.use_dora && self.lora_bias {
            return Err(("lora_bias", "does not go together with use_dora".to_owned()));
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

    fn check_init(&self) -> Result<(), (&'static str, String)> {
        let init = self.init_lora_weights;
        let wrong = |reason: String| Err(("init_lora_weights", format!("{} {reason}", Value::from(init))));
        if init.takes_from_base() {
            if self.use_dora || self.lora_bias {
                return wrong("does not go together with use_dora or lora_bias".to_owned());
            }
            let alphas = self.alpha_pattern.iter().map(|(_, alpha)| *alpha).chain([self.lora_alpha]);
            if let Some(alpha) = alphas.into_iter().find(|alpha| *alpha <= 0.0) {
                return wrong(format!("needs a positive lora_alpha, got {alpha}"));
            }
        }
        let odd = self.rank_pattern.iter().map(|(_, r)| *r).chain([self.r]).find(|r| r % 2 == 1);
        match odd.filter(|_| init == InitLoraWeights::Orthogonal) {
            Some(r) => wrong(format!("needs an even rank, got {r}")),
            None => Ok(()),
        }
    }

    /// The configuration of plain LoRA with twice the rank and the same scaling: what an adapter that started as a part of
    /// the base is saved as.
    pub(crate) fn doubled(&self) -> Self {
        let factor = if self.use_rslora { std::f64::consts::SQRT_2 } else { 2.0 };
        let mut doubled = Self { r: 2 * self.r, lora_alpha: factor * self.lora_alpha, ..self.clone() };
        doubled.rank_pattern.iter_mut().for_each(|(_, r)| *r *= 2);
        doubled.alpha_pattern.iter_mut().for_each(|(_, alpha)| *alpha *= factor);
        doubled.init_lora_weights = InitLoraWeights::Default;
        doubled
    }

    /// The file's object. `fan_in_fan_out` says whether the adapted weights are stored `[in, out]`, as GPT-2's are.
    pub(crate) fn to_json(&self, fan_in_fan_out: bool) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, Self::PEFT_TYPE);
        let ranks: Map<_, _> = self.rank_pattern.iter().map(|(key, r)| (key.clone(), json!(r))).collect();
        let alphas: Map<_, _> = self.alpha_pattern.iter().map(|(key, alpha)| (key.clone(), number(*alpha))).collect();
        let always = [
            ("alpha_pattern", Value::Object(alphas)),
            ("bias", json!(self.bias)),
            ("fan_in_fan_out", json!(fan_in_fan_out)),
            ("init_lora_weights", self.init_lora_weights.into()),
            ("layer_replication", Value::Null),
            ("layers_pattern", json!(self.layers_pattern)),
            ("layers_to_transform", json!(self.layers_to_transform)),
            ("loftq_config", json!({})),
            ("lora_alpha", number(self.lora_alpha)),
            ("lora_dropout", json!(self.lora_dropout)),
            ("megatron_config", Value::Null),
            ("megatron_core", json!("megatron.core")),
            ("modules_to_save", json!(self.modules_to_save)),
            ("r", json!(self.r)),
            ("rank_pattern", Value::Object(ranks)),
            ("target_modules", json!(self.target_modules.as_ref().map(ModuleNames::sorted))),
            ("use_dora", json!(self.use_dora)),
            ("use_rslora", json!(self.use_rslora)),
        ];
        json.extend(always.map(|(key, value)| (key.to_owned(), value)));
        if let Some(excluded) = self.exclude_modules.as_ref().filter(|names| !names.is_empty()) {
            json.insert("exclude_modules".to_owned(), json!(excluded.sorted()));
        }
        if let Some(tokens) = &self.trainable_token_indices {
            json.insert("trainable_token_indices".to_owned(), json!(tokens));
        }
        if self.lora_bias {
            json.insert("lora_bias".to_owned(), json!(true));
        }
        Value::Object(json)
    }
}

/// An object of numbers, in the order of the file: the first pattern that matches counts.
fn pattern<T>(
    fields: &mut Fields,
    key: &str,
    number: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(String, T)>, PeftError> {
    let map: Map<String, Value> = fields.take(key)?.unwrap_or_default();
    map.into_iter()
        .map(|(pattern, value)| match number(&value) {
            Some(value) => Ok((pattern, value)),
            None => Err(fields.wrong(key, format!("expected a number for {pattern:?}, got {value}"))),
        })
        .collect()
}

/// PEFT's alphas are integers unless somebody wrote a fraction.
fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value { json!(whole) } else { json!(value) }
}
