//! `[adapter]`: which parameters are trained. Names and meanings are those of PEFT's configurations.

use std::ops::Bound;
use std::path::PathBuf;

use peft::lora::{Bias, InitLoraWeights};
use peft::{ModuleNames, OneOrMany};
use serde::{Serialize, Serializer};

use super::document::{Node, Value};
use super::problem::Problem;
use super::section::Section;
use super::value::{Choice, FromNode, Patterns, wrong_type};

/// The method and its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adapter {
    /// The method. Default `lora`.
    pub method: Method,
    /// Go on from this adapter, a directory in PEFT's format, whose structure is then taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// Settings of `method = "lora"`.
    #[serde(flatten)]
    pub lora: LoraSettings,
}

/// LoRA's settings as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoraSettings {
    /// Rank. PEFT's default is 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r: Option<usize>,
    /// Numerator of the scaling `lora_alpha / r`. PEFT's default is 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// Dropout before A. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_dropout: Option<f64>,
    /// Which linear layers; PEFT's default for the model family unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_modules: Option<ModuleNames>,
    /// Which of them not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<ModuleNames>,
    /// Modules trained and saved in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules_to_save: Option<Vec<String>>,
    /// Scale by `lora_alpha / sqrt(r)`. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_rslora: Option<bool>,
    /// Ranks of single modules, by pattern.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_table")]
    pub rank_pattern: Option<Vec<(String, usize)>>,
    /// Alphas of single modules, by pattern.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_table")]
    pub alpha_pattern: Option<Vec<(String, f64)>>,
    /// Only these layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_to_transform: Option<OneOrMany<usize>>,
    /// Name of the list of layers, where it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Which biases of the base are trained. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<Bias>,
    /// A trained bias on B. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_bias: Option<bool>,
    /// How A and B start. Default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_lora_weights: Option<InitLoraWeights>,
}

impl Adapter {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        // Read by the prompt family; one config serves all methods.
        s.get_within::<usize>("num_virtual_tokens", 1..);
        if s.or("use_dora", false) {
            s.unavailable("use_dora", "true", "false");
        }
        Self {
            method: s.or("method", Method::Lora),
            init_from: s.get_path("init_from"),
            lora: LoraSettings {
                r: s.get_within("r", 1..=1 << 16),
                lora_alpha: s.get_within("lora_alpha", (Bound::Excluded(0.0), Bound::Included(1e9))),
                lora_dropout: s.get_within("lora_dropout", 0.0..1.0),
                target_modules: s.get("target_modules"),
                exclude_modules: s.get("exclude_modules"),
                modules_to_save: s.get("modules_to_save"),
                use_rslora: s.get("use_rslora"),
                rank_pattern: s.get("rank_pattern").map(|Patterns(ranks)| ranks),
                alpha_pattern: s.get("alpha_pattern").map(|Patterns(alphas)| alphas),
                layers_to_transform: s.get("layers_to_transform"),
                layers_pattern: s.get("layers_pattern"),
                bias: s.get("bias"),
                lora_bias: s.get("lora_bias"),
                init_lora_weights: s.get("init_lora_weights"),
            },
        }
    }
}

/// A method of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Low-rank adaptation.
    Lora,
    /// Every parameter of the base.
    Full,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Method::Lora => "lora",
            Method::Full => "full",
        })
    }
}

impl Choice for Method {
    const CHOICES: &'static [(&'static str, Self)] = &[("lora", Self::Lora), ("full", Self::Full)];
    const ABSENT: &'static [&'static str] =
        &["qlora", "ia3", "prompt_tuning", "prefix_tuning", "p_tuning", "p_tuning_v2", "bottleneck"];
}

impl Choice for Bias {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("all", Self::All), ("lora_only", Self::LoraOnly)];
}

impl FromNode for ModuleNames {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::String(pattern) => Ok(ModuleNames::Pattern(pattern.clone())),
            Value::Array(_) => Vec::from_node(key, node).map(ModuleNames::List),
            _ => Err(wrong_type(key, node, "a list of names, \"all-linear\" or a regular expression")),
        }
    }
}

impl FromNode for InitLoraWeights {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Boolean(true) => Ok(Self::Default),
            Value::Boolean(false) => Ok(Self::Random),
            Value::String(_) => InitWord::from_node(key, node).map(|InitWord(init)| init),
            _ => Err(wrong_type(key, node, "true, false or \"gaussian\"")),
        }
    }
}

/// [`InitLoraWeights`] as a string.
#[derive(Clone, Copy)]
struct InitWord(InitLoraWeights);

impl Choice for InitWord {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("true", Self(InitLoraWeights::Default)),
        ("gaussian", Self(InitLoraWeights::Gaussian)),
        ("false", Self(InitLoraWeights::Random)),
    ];
    const ABSENT: &'static [&'static str] = &["pissa", "olora", "eva", "loftq", "corda", "orthogonal"];
}

/// Pairs as a TOML table, in their order.
fn as_table<S: Serializer, T: Serialize>(pairs: &Option<Vec<(String, T)>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().flatten().map(|(name, value)| (name, value)))
}
