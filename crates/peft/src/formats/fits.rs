//! Whether an adapter's file holds what its configuration means in a base, told without the base's weights.

use std::collections::BTreeMap;

use checkpoint::AdapterDirectory;
use model::ModuleKind;
use tensor::Shape;

use super::Blueprint;
use crate::{AdapterConfig, PeftError, Problems, names, trainable};

/// What stands between a module and its parameter where PEFT wraps the module; older releases saved it without.
const WRAPPED: &str = ".base_layer.";

/// Compares the tensors of `directory`, PEFT's files with `config`, with those that `config` means in `base`. Virtual tokens
/// and bottleneck adapters are no matter of single modules, and pass.
///
/// # Errors
/// [`PeftError::Keys`] lists what is missing, unknown and misshapen, as loading the adapter does; those of [`trainable`] for
/// a configuration that does not suit the base, with the name of the file.
pub fn check(directory: &AdapterDirectory, config: &AdapterConfig, base: Blueprint<'_>) -> Result<(), PeftError> {
    use AdapterConfig::{Bottleneck, PixelPrompt, PromptLearning};
    if matches!(config, Bottleneck(_) | PromptLearning(_) | PixelPrompt(_)) {
        return Ok(());
    }
    let declared = trainable(config, base.dimensions, base.modules);
    let declared = declared.map_err(|error| error.in_file(&super::config_path(directory)))?;
    let mut expected: BTreeMap<String, (String, Shape)> =
        declared.into_iter().map(|(name, shape)| (name.replace(WRAPPED, "."), (name, shape))).collect();
    let mut problems = Problems::default();
    for tensor in directory.weights.tensors().filter(|tensor| !names::is_repeated(tensor.name())) {
        let key = model::current_name(&names::without_adapter_name(tensor.name()));
        let Some((_, shape)) = expected.remove(&key.replace(WRAPPED, ".")) else {
            if is_of_module(&key) || is_of_base(&key, base) {
                problems.unexpected.push(tensor.name().to_owned());
            }
            continue;
        };
        // A of an embedding is trained as the transpose of what is saved.
        let mut sizes = shape.sizes().to_vec();
        if key.ends_with(".lora_embedding_A") {
            sizes.reverse();
        }
        if tensor.shape() != sizes {
            problems.misshapen.push(format!("{key} is {:?}, expected {sizes:?}", tensor.shape()));
        }
    }
    problems.missing = expected.into_values().map(|(name, _)| name).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(PeftError::Keys { path: directory.weights.path().to_owned(), problems })
}

/// Whether the key holds what a method adds to one module.
fn is_of_module(key: &str) -> bool {
    [".lora_", ".ia3_l", ".vera_lambda_"].iter().any(|part| key.contains(part))
}

/// Whether the key is a parameter that could only be there trained: tables of embeddings and heads of language models PEFT
/// saves as they are in the base.
fn is_of_base(key: &str, base: Blueprint<'_>) -> bool {
    let Some(name) = key.strip_prefix(names::PREFIX) else { return false };
    let parameter = base.modules.parameters().find(|parameter| parameter.name == name);
    parameter
        .map(|parameter| base.modules.get(parameter.module))
        .is_some_and(|module| !matches!(module.kind, ModuleKind::Embedding { .. }) && !module.is_head)
}
