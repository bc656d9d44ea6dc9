//! Settings of trainable tokens, and of those beside LoRA.

use peft::trainable_tokens::{TokenIndices, TrainableTokensConfig};
use serde::Serialize;

use super::Selection;
use super::conflicts::Conflicts;
use crate::config::document::{Node, Value};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::value::{FromNode, Patterns, wrong_type};

/// Settings of trainable tokens as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrainableTokensSettings {
    /// The tokens whose rows are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_indices: Option<Vec<u32>>,
}

impl TrainableTokensSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self { token_indices: s.get::<Tokens>("token_indices").map(|Tokens(tokens)| tokens) }
    }

    /// These settings, PEFT's defaults for the rest.
    pub fn over_defaults(&self, selection: &Selection) -> TrainableTokensConfig {
        self.over(selection, &TrainableTokensConfig::default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from, whose structure is taken over.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(
        &self,
        selection: &Selection,
        adapter: &TrainableTokensConfig,
    ) -> Result<TrainableTokensConfig, Vec<String>> {
        let merged = self.over(selection, adapter);
        let mut conflicts = Conflicts::default();
        conflicts.check("token_indices", &merged.token_indices, &adapter.token_indices);
        conflicts.check("target_modules", &merged.target_modules, &adapter.target_modules);
        conflicts.none()?;
        // The order of the adapter's rows.
        Ok(TrainableTokensConfig { token_indices: adapter.token_indices.clone(), ..merged })
    }

    fn over(&self, selection: &Selection, base: &TrainableTokensConfig) -> TrainableTokensConfig {
        TrainableTokensConfig {
            common: base.common.clone(),
            token_indices: self.token_indices.as_ref().unwrap_or(&base.token_indices).clone(),
            target_modules: selection.target_modules.clone().or_else(|| base.target_modules.clone()),
            init_weights: base.init_weights,
        }
    }
}

/// Numbers of tokens.
struct Tokens(Vec<u32>);

impl FromNode for Tokens {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        let numbers = Vec::<u64>::from_node(key, node)?;
        let tokens = numbers.into_iter().map(u32::try_from).collect::<Result<_, _>>();
        tokens.map(Self).map_err(|_| wrong_type(key, node, "numbers of tokens, below 2^32"))
    }
}

impl FromNode for TokenIndices {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Array(_) => Tokens::from_node(key, node).map(|Tokens(tokens)| Self::Input(tokens)),
            Value::Table(_) => {
                let Patterns(modules) = Patterns::<Tokens>::from_node(key, node)?;
                let modules = modules.into_iter().map(|(name, Tokens(tokens))| (name, serde_json::json!(tokens)));
                Ok(Self::ByModule(modules.collect()))
            }
            _ => Err(wrong_type(key, node, "a list of tokens, or a table as in { embed_tokens = [3, 4] }")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapters_rows_keep_their_order() {
        let adapter = TrainableTokensConfig { token_indices: vec![9, 3], ..TrainableTokensConfig::default() };
        let none = Selection::default();
        let same = TrainableTokensSettings { token_indices: Some(vec![3, 9]) };
        assert_eq!(same.over_adapter(&none, &adapter).unwrap().token_indices, [9, 3]);
        let other = TrainableTokensSettings { token_indices: Some(vec![3]) };
        assert_eq!(
            other.over_adapter(&none, &adapter).unwrap_err(),
            ["adapter.token_indices is [3], and the adapter has [3,9]"]
        );
    }
}
