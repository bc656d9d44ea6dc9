//! Where the values of tied parameters come from: those of a head that is the embedding, or of the embeddings of encoder
//! and decoder.
//!
//! | tied in the configuration | in the files | |
//! |---|---|---|
//! | yes | one of them | all share it |
//! | yes | several, equal | all share the first |
//! | yes | several, other values | each its own, as transformers does |
//! | no (`tie_word_embeddings` is false) | no head | an error, unless it is a classifier's: transformers would draw one at random |

use checkpoint::{Checkpoint, MappedTensor};

use super::{Expected, StoredNames};
use crate::module::Modules;
use crate::{ModelError, ParameterId, Result};

/// For every parameter, by its number, the parameter under whose name its values are stored. Unties those in `modules` that
/// have values of their own.
pub(super) fn sources(
    expected: &Expected,
    modules: &mut Modules,
    checkpoint: &Checkpoint,
    names: &StoredNames,
) -> Result<Vec<ParameterId>> {
    refuse_missing_head(expected, modules, checkpoint, names)?;
    let mut sources: Vec<ParameterId> = modules.parameters().map(|parameter| parameter.id).collect();
    let tied = |modules: &Modules| -> Vec<(ParameterId, ParameterId)> {
        modules.parameters().filter_map(|parameter| Some((parameter.id, parameter.tied_to?))).collect()
    };
    let stored = |modules: &Modules, id: ParameterId| checkpoint.get(&names.of(&modules.parameter(id).name));
    for (id, original) in tied(modules) {
        if stored(modules, sources[original.index()]).is_none() && stored(modules, id).is_some() {
            sources[original.index()] = id;
        }
    }
    for (id, original) in tied(modules) {
        let shared = sources[original.index()];
        match (stored(modules, id), stored(modules, shared)) {
            (Some(own), Some(other)) if !equal(&own, &other) => modules.untie(id),
            _ => sources[id.index()] = shared,
        }
    }
    Ok(sources)
}

fn refuse_missing_head(
    expected: &Expected,
    modules: &Modules,
    checkpoint: &Checkpoint,
    names: &StoredNames,
) -> Result<()> {
    let Some(head) = modules.head().map(|head| modules.parameter(head.weight)) else { return Ok(()) };
    let name = names.of(&head.name);
    if head.tied_to.is_some() || checkpoint.contains(&name) || expected.new.modules.contains(&head.module) {
        return Ok(());
    }
    Err(ModelError::MissingHead { dir: checkpoint.dir().to_owned(), name })
}

fn equal(a: &MappedTensor, b: &MappedTensor) -> bool {
    a.name() == b.name() || (a.dtype() == b.dtype() && a.shape() == b.shape() && a.bytes() == b.bytes())
}
