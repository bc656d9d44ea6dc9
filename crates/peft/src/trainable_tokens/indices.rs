//! Which tokens of which modules.

use std::collections::BTreeSet;

use model::{Module, ModuleId, ModuleKind, Modules};
use serde::{Deserialize, Serialize};
use tensor::Layout;

use crate::PeftError;
use crate::targets::kind_of;

/// `trainable_token_indices` of LoRA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a list of token ids, or an object of such lists by module")]
pub enum TokenIndices {
    /// Tokens of the input embedding, and of what shares its values.
    Input(Vec<u32>),
    /// Tokens by the end of a module's name.
    ByModule(serde_json::Map<String, serde_json::Value>),
}

/// Tokens whose rows are trained in one module, and in others with it.
#[derive(Clone)]
pub(crate) struct PlannedRows {
    /// The module that the rows are named after.
    pub(crate) module: ModuleId,
    /// The tokens, in the order of the rows.
    pub(crate) tokens: Vec<u32>,
    /// Modules that share its values.
    pub(crate) shared_by: Vec<ModuleId>,
}

impl TokenIndices {
    /// What they mean in a model. `key` is where they are configured.
    ///
    /// # Errors
    /// [`PeftError::Setting`] for a token that the model does not have or that is listed twice, or for a name that means no
    /// module; [`PeftError::UnsupportedTarget`].
    pub(crate) fn plan(&self, key: &'static str, modules: &Modules) -> Result<Vec<PlannedRows>, PeftError> {
        match self {
            TokenIndices::Input(tokens) => {
                let input = input_embedding(modules).ok_or_else(|| no_module(key, "the input embedding"))?;
                Ok(vec![PlannedRows::new(key, input, tokens, modules, true)?])
            }
            TokenIndices::ByModule(map) => by_module(key, map, modules),
        }
    }
}

/// The module that token ids go into.
pub(crate) fn input_embedding(modules: &Modules) -> Option<&Module> {
    modules.iter().find(|module| matches!(module.kind, ModuleKind::Embedding { .. }))
}

fn by_module(
    key: &'static str,
    map: &serde_json::Map<String, serde_json::Value>,
    modules: &Modules,
) -> Result<Vec<PlannedRows>, PeftError> {
    let mut named: Vec<(&Module, Vec<u32>)> = Vec::new();
    for (name, tokens) in map {
        let tokens: Vec<u32> = serde_json::from_value(tokens.clone())
            .map_err(|error| PeftError::Setting { key, reason: format!("{name:?}: {error}") })?;
        let before = named.len();
        named.extend(modules.iter().filter(|m| m.path.ends_with(name.as_str())).map(|m| (m, tokens.clone())));
        if named.len() == before {
            return Err(no_module(key, name));
        }
    }
    let input = input_embedding(modules).map(|module| module.id);
    let tied = |module: &Module| Some(module.id) == input || shares(module, input, modules);
    // As PEFT has it: named with the same tokens they share one set of rows, with others each has its own.
    let of_tied = || named.iter().filter(|(module, _)| tied(module)).map(|(_, tokens)| tokens);
    let alike = of_tied().zip(of_tied().skip(1)).all(|(a, b)| a == b);
    let names_input = named.iter().any(|(module, _)| Some(module.id) == input);
    let mut planned = Vec::new();
    for (module, tokens) in &named {
        if alike && names_input && Some(module.id) != input && tied(module) {
            continue;
        }
        planned.push(PlannedRows::new(key, module, tokens, modules, alike)?);
    }
    Ok(planned)
}

/// Whether the module has the values of `input` in the base.
fn shares(module: &Module, input: Option<ModuleId>, modules: &Modules) -> bool {
    let original = modules.parameter(module.weight).tied_to;
    original.is_some_and(|original| Some(modules.parameter(original).module) == input)
}

fn no_module(key: &'static str, name: &str) -> PeftError {
    PeftError::Setting { key, reason: format!("names {}, which this model does not have", checkpoint::Quoted(name)) }
}

impl PlannedRows {
    /// The rows `tokens` of `module`, and with `shared` those of what shares its values.
    pub(crate) fn new(
        key: &'static str,
        module: &Module,
        tokens: &[u32],
        modules: &Modules,
        shared: bool,
    ) -> Result<Self, PeftError> {
        let rows = rows(module)?;
        let mut seen = BTreeSet::new();
        let wrong = tokens.iter().find(|&&token| token as usize >= rows || !seen.insert(token));
        if let Some(token) = wrong {
            let reason = match (*token as usize) < rows {
                true => format!("token {token} is listed twice"),
                false => format!("there is no token {token} in {}, which has {rows}", module.path),
            };
            return Err(PeftError::Setting { key, reason });
        }
        if tokens.is_empty() {
            return Err(PeftError::Setting { key, reason: "no token is listed".to_owned() });
        }
        let others = modules.iter().filter(|other| shared && shares(other, Some(module.id), modules));
        Ok(Self { module: module.id, tokens: tokens.to_vec(), shared_by: others.map(|other| other.id).collect() })
    }
}

/// How many rows a module has that can be trained one by one.
fn rows(module: &Module) -> Result<usize, PeftError> {
    match module.kind {
        ModuleKind::Embedding { num_embeddings, .. } => Ok(num_embeddings),
        ModuleKind::Linear { out_features, layout: Layout::OutIn, .. } if module.is_head && module.bias.is_none() => {
            Ok(out_features)
        }
        _ => {
            let (module, kind) = (module.path.clone(), kind_of(module));
            let adaptable = "rows of embeddings and of heads without a bias";
            Err(PeftError::UnsupportedTarget { module, kind, adaptable })
        }
    }
}
