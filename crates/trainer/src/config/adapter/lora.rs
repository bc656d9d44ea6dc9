//! LoRA's settings.

use std::ops::Bound;

use peft::lora::{Bias, InitLoraWeights, LoraConfig};
use peft::trainable_tokens::TokenIndices;
use peft::{ModuleNames, OneOrMany};
use serde::{Serialize, Serializer};

use super::Selection;
use super::conflicts::Conflicts;
use crate::config::document::{Node, Value};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::value::{Choice, FromNode, Patterns, wrong_type};

/// LoRA's settings as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from).
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
    /// Scale by `lora_alpha / sqrt(r)`. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_rslora: Option<bool>,
    /// Train the norms of the weights' rows apart (DoRA). Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_dora: Option<bool>,
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
    /// Tokens whose rows of the embedding are trained beside A and B.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainable_token_indices: Option<TokenIndices>,
}

impl LoraSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            r: s.get_within("r", 1..=1 << 16),
            lora_alpha: s.get_within("lora_alpha", (Bound::Excluded(0.0), Bound::Included(1e9))),
            lora_dropout: s.get_within("lora_dropout", 0.0..1.0),
            use_rslora: s.get("use_rslora"),
            use_dora: s.get("use_dora"),
            rank_pattern: s.get("rank_pattern").map(|Patterns(ranks)| ranks),
            alpha_pattern: s.get("alpha_pattern").map(|Patterns(alphas)| alphas),
            layers_to_transform: s.get("layers_to_transform"),
            layers_pattern: s.get("layers_pattern"),
            bias: s.get("bias"),
            lora_bias: s.get("lora_bias"),
            init_lora_weights: s.get("init_lora_weights"),
            trainable_token_indices: s.get("trainable_token_indices"),
        }
    }

    /// These settings, PEFT's defaults for the rest.
    pub fn over_defaults(&self, selection: &Selection) -> LoraConfig {
        self.over(selection, &LoraConfig::default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from. The structure is the adapter's: only
    /// what training alone reads, the dropout, may differ. Whether `"all-linear"` means the adapter's modules, the model has
    /// to say.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(&self, selection: &Selection, adapter: &LoraConfig) -> Result<LoraConfig, Vec<String>> {
        let mut merged = self.over(selection, adapter);
        let mut conflicts = Conflicts::default();
        conflicts.check("r", &merged.r, &adapter.r);
        conflicts.check("lora_alpha", &merged.lora_alpha, &adapter.lora_alpha);
        // PEFT saves "all-linear" as the names that it meant, which are known only with the model.
        if !merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
            conflicts.check("target_modules", &merged.target_modules, &adapter.target_modules);
        }
        conflicts.check("exclude_modules", &merged.exclude_modules, &adapter.exclude_modules);
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        conflicts.check("layers_to_transform", &merged.layers_to_transform, &adapter.layers_to_transform);
        conflicts.check("layers_pattern", &merged.layers_pattern, &adapter.layers_pattern);
        conflicts.check("rank_pattern", &merged.rank_pattern, &adapter.rank_pattern);
        conflicts.check("alpha_pattern", &merged.alpha_pattern, &adapter.alpha_pattern);
        conflicts.check("bias", &merged.bias, &adapter.bias);
        conflicts.check("lora_bias", &merged.lora_bias, &adapter.lora_bias);
        conflicts.check("use_rslora", &merged.use_rslora, &adapter.use_rslora);
        conflicts.check("use_dora", &merged.use_dora, &adapter.use_dora);
        conflicts.check("trainable_token_indices", &merged.trainable_token_indices, &adapter.trainable_token_indices);
        conflicts.none()?;
        merged.trainable_token_indices.clone_from(&adapter.trainable_token_indices);
        merged.init_lora_weights = adapter.init_lora_weights;
        Ok(merged)
    }

    pub(super) fn over(&self, selection: &Selection, base: &LoraConfig) -> LoraConfig {
        fn or<T: Clone>(set: &Option<T>, base: &T) -> T {
            set.as_ref().unwrap_or(base).clone()
        }
        LoraConfig {
            common: base.common.clone(),
            r: or(&self.r, &base.r),
            lora_alpha: or(&self.lora_alpha, &base.lora_alpha),
            lora_dropout: or(&self.lora_dropout, &base.lora_dropout),
            target_modules: selection.target_modules.clone().or_else(|| base.target_modules.clone()),
            exclude_modules: selection.exclude_modules.clone().or_else(|| base.exclude_modules.clone()),
            modules_to_save: selection.modules_to_save.clone().or_else(|| base.modules_to_save.clone()),
            layers_to_transform: self.layers_to_transform.clone().or_else(|| base.layers_to_transform.clone()),
            layers_pattern: self.layers_pattern.clone().or_else(|| base.layers_pattern.clone()),
            rank_pattern: or(&self.rank_pattern, &base.rank_pattern),
            alpha_pattern: or(&self.alpha_pattern, &base.alpha_pattern),
            bias: or(&self.bias, &base.bias),
            lora_bias: or(&self.lora_bias, &base.lora_bias),
            use_rslora: or(&self.use_rslora, &base.use_rslora),
            use_dora: or(&self.use_dora, &base.use_dora),
            init_lora_weights: or(&self.init_lora_weights, &base.init_lora_weights),
            trainable_token_indices: self
                .trainable_token_indices
                .clone()
                .or_else(|| base.trainable_token_indices.clone()),
        }
    }
}

impl Choice for Bias {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("all", Self::All), ("lora_only", Self::LoraOnly)];
}

impl FromNode for InitLoraWeights {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Boolean(true) => Ok(Self::Default),
            Value::Boolean(false) => Ok(Self::Random),
            Value::String(word) if word.starts_with("pissa_niter_") => Self::try_from(serde_json::json!(word))
                .map_err(|_| wrong_type(key, node, "\"pissa_niter_[n]\" with a number")),
            Value::String(_) => InitWord::from_node(key, node).map(|InitWord(init)| init),
            _ => Err(wrong_type(key, node, "true, false or the name of an initialization")),
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
        ("orthogonal", Self(InitLoraWeights::Orthogonal)),
        ("pissa", Self(InitLoraWeights::Pissa { iterations: None })),
        ("olora", Self(InitLoraWeights::Olora)),
        ("false", Self(InitLoraWeights::Random)),
    ];
    const ABSENT: &'static [&'static str] = &["eva", "loftq", "corda"];
}

/// Pairs as a TOML table, in their order.
fn as_table<S: Serializer, T: Serialize>(pairs: &Option<Vec<(String, T)>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().flatten().map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Option<ModuleNames> {
        Some(ModuleNames::List(list.iter().map(|s| (*s).to_owned()).collect()))
    }

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let adapter = LoraConfig { r: 16, target_modules: names(&["v_proj", "q_proj"]), ..LoraConfig::default() };
        let same = LoraSettings { r: Some(16), lora_dropout: Some(0.1), ..LoraSettings::default() };
        let targets = Selection { target_modules: names(&["q_proj", "v_proj"]), ..Selection::default() };
        let merged = same.over_adapter(&targets, &adapter).unwrap();
        assert_eq!((merged.r, merged.lora_dropout), (16, 0.1));
        let other = LoraSettings { r: Some(8), use_rslora: Some(true), ..LoraSettings::default() };
        assert_eq!(
            other.over_adapter(&Selection::default(), &adapter).unwrap_err(),
            ["adapter.r is 8, and the adapter has 16", "adapter.use_rslora is true, and the adapter has false"]
        );
    }

    #[test]
    fn what_is_not_set_has_pefts_default() {
        let config = LoraSettings { r: Some(4), ..LoraSettings::default() }.over_defaults(&Selection::default());
        assert_eq!(config, LoraConfig { r: 4, ..LoraConfig::default() });
    }
}
