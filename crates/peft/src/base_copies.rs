//! Copies of the base's embeddings in PEFT's files. PEFT adds them where an adapter changes an embedding or the head, where the
//! vocabulary was resized, and wherever `save_embedding_layers` asks for them.

use checkpoint::SafetensorsFile;
use model::{Base, ModuleKind};

use crate::PeftError;
use crate::method::{SavedTensor, Source};

/// Their names behind that of a module: as it is, and in PEFT's wrapper.
const SUFFIXES: [&str; 2] = ["weight", "base_layer.weight"];

/// Adds to `saved` the copies that `file` holds of the input embedding and of the head, under names that begin with `prefix`.
/// Loading then compares them with the base, and they are saved again.
///
/// # Errors
/// [`PeftError::Model`] for a weight that the base cannot give.
pub(crate) fn add(
    prefix: &str,
    base: &Base,
    file: &SafetensorsFile,
    saved: &mut Vec<SavedTensor>,
) -> Result<(), PeftError> {
    let modules = base.modules();
    let input = modules.iter().find(|module| matches!(module.kind, ModuleKind::Embedding { .. }));
    let heads = modules.iter().filter(|module| module.is_head);
    for module in input.into_iter().chain(heads) {
        for suffix in SUFFIXES {
            let name = format!("{prefix}{}.{suffix}", module.path);
            // What is trained, or expected anyway, is no copy of this kind.
            let is_known = |known: &SavedTensor| known.name == name || known.alias.as_ref() == Some(&name);
            if file.get(&name).is_some() && !saved.iter().any(is_known) {
                let source = Source::Base(base.parameter(module.weight)?);
                saved.push(SavedTensor { name, alias: None, source });
            }
        }
    }
    Ok(())
}
