//! `[adapter]`: which parameters are trained. Names and meanings are those of PEFT's configurations.

mod adalora;
mod bottleneck;
mod conflicts;
mod ia3;
mod ln_tuning;
mod lora;
mod pixel_prompt;
mod prompt_learning;
mod recipe;
mod trainable_tokens;
mod vera;
mod without_effect;

use std::path::PathBuf;

use peft::ModuleNames;
use serde::Serialize;

use super::document::{Node, Value};
use super::problem::Problem;
use super::section::Section;
use super::value::{Choice, FromNode, wrong_type};

pub use adalora::AdaLoraSettings;
pub use bottleneck::BottleneckSettings;
pub use ia3::Ia3Settings;
pub use lora::LoraSettings;
pub use pixel_prompt::PixelPromptSettings;
pub use prompt_learning::PromptLearningSettings;
pub use recipe::Recipe;
pub use trainable_tokens::TrainableTokensSettings;
pub use vera::VeraSettings;

/// The method and its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adapter {
    /// The method. Default `lora`.
    pub method: Method,
    /// Where settings that are not written come from. Default `recommended`.
    pub recipe: Recipe,
    /// Go on from this adapter, a directory in PEFT's format or AdapterHub's, whose structure is then taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// Which modules it changes.
    #[serde(flatten)]
    pub selection: Selection,
    /// Settings of `method = "lora"`, some of which `"vera"` and `"adalora"` read too.
    #[serde(flatten)]
    pub lora: LoraSettings,
    /// Settings of `method = "ia3"`.
    #[serde(flatten)]
    pub ia3: Ia3Settings,
    /// Settings of `method = "bottleneck"`.
    #[serde(flatten)]
    pub bottleneck: BottleneckSettings,
    /// Settings of `method = "prompt_tuning"`, `"prefix_tuning"` and `"p_tuning"`.
    #[serde(flatten)]
    pub prompt_learning: PromptLearningSettings,
    /// Settings of `method = "vera"`.
    #[serde(flatten)]
    pub vera: VeraSettings,
    /// Settings of `method = "adalora"`.
    #[serde(flatten)]
    pub adalora: AdaLoraSettings,
    /// Settings of `method = "trainable_tokens"`.
    #[serde(flatten)]
    pub trainable_tokens: TrainableTokensSettings,
    /// Settings of `method = "pixel_prompt"`.
    #[serde(flatten)]
    pub pixel_prompt: PixelPromptSettings,
}

/// Which modules a method changes, for the methods that choose. What is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Selection {
    /// Which layers; PEFT's default for method and model family unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_modules: Option<ModuleNames>,
    /// Which of them not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<ModuleNames>,
    /// Modules trained and saved in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules_to_save: Option<Vec<String>>,
}

impl Adapter {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            method: s.or("method", Method::Lora),
            recipe: s.or("recipe", Recipe::default()),
            init_from: s.get_path("init_from"),
            selection: Selection {
                target_modules: s.get("target_modules"),
                exclude_modules: s.get("exclude_modules"),
                modules_to_save: s.get("modules_to_save"),
            },
            lora: LoraSettings::read(s),
            ia3: Ia3Settings::read(s),
            bottleneck: BottleneckSettings::read(s),
            prompt_learning: PromptLearningSettings::read(s),
            vera: VeraSettings::read(s),
            adalora: AdaLoraSettings::read(s),
            trainable_tokens: TrainableTokensSettings::read(s),
            pixel_prompt: PixelPromptSettings::read(s),
        }
    }
}

/// A method of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Low-rank adaptation.
    Lora,
    /// Low-rank adaptation whose ranks are distributed in training.
    #[serde(rename = "adalora")]
    AdaLora,
    /// Learned scaling of random low-rank updates.
    Vera,
    /// Learned scaling of channels.
    Ia3,
    /// Training of norms.
    LnTuning,
    /// Training of single rows of an embedding.
    TrainableTokens,
    /// Bottleneck adapters, in AdapterHub's format.
    Bottleneck,
    /// Learned embeddings before the tokens'.
    PromptTuning,
    /// Learned keys and values before the tokens' in every block.
    PrefixTuning,
    /// Learned embeddings through an encoder.
    PTuning,
    /// Learned values added to the pixels of images.
    PixelPrompt,
    /// Every parameter of the base.
    Full,
}

impl Method {
    /// The names of all methods, for a reader.
    pub fn names() -> String {
        Self::CHOICES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Method::Lora => "lora",
            Method::AdaLora => "adalora",
            Method::Vera => "vera",
            Method::Ia3 => "ia3",
            Method::LnTuning => "ln_tuning",
            Method::TrainableTokens => "trainable_tokens",
            Method::Bottleneck => "bottleneck",
            Method::PromptTuning => "prompt_tuning",
            Method::PrefixTuning => "prefix_tuning",
            Method::PTuning => "p_tuning",
            Method::PixelPrompt => "pixel_prompt",
            Method::Full => "full",
        })
    }
}

impl Choice for Method {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("lora", Self::Lora),
        ("adalora", Self::AdaLora),
        ("vera", Self::Vera),
        ("ia3", Self::Ia3),
        ("ln_tuning", Self::LnTuning),
        ("trainable_tokens", Self::TrainableTokens),
        ("bottleneck", Self::Bottleneck),
        ("prompt_tuning", Self::PromptTuning),
        ("prefix_tuning", Self::PrefixTuning),
        ("p_tuning", Self::PTuning),
        ("pixel_prompt", Self::PixelPrompt),
        ("full", Self::Full),
    ];
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
