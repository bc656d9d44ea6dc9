//! Where the head's weight comes from.
//!
//! | `tie_word_embeddings` | embedding in the files | head in the files | |
//! |---|---|---|---|
//! | true | yes | no | the head is the embedding |
//! | true | no | yes | the embedding is the head |
//! | true | yes | yes, equal | the head is the embedding |
//! | true | yes | yes, other values | each its own, as transformers does |
//! | false | yes | yes | each its own |
//! | false | | no | an error: transformers would draw a head at random |

use checkpoint::{Checkpoint, MappedTensor};

use super::{Expected, StoredNames};
use crate::module::{Module, Modules, Parameter};
use crate::{ModelError, Result};

/// Which tensor embedding and head are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadSource {
    /// One for both, under the embedding's name.
    Embedding,
    /// One for both, under the head's name.
    Head,
    /// One for each.
    Both,
}

impl HeadSource {
    pub(super) fn find(
        expected: &Expected<'_>,
        modules: &Modules,
        checkpoint: &Checkpoint,
        names: &StoredNames,
    ) -> Result<Self> {
        let weight = |module: &Module| &modules.parameter(module.weight).name;
        let (Some(embedding), Some(head)) = (modules.find(expected.names.embedding), modules.head()) else {
            return Ok(HeadSource::Both);
        };
        let stored_head = names.of(weight(head));
        let (embedding, head) = (checkpoint.get(&names.of(weight(embedding))), checkpoint.get(&stored_head));
        match (expected.tie_word_embeddings, embedding, head) {
            (false, _, Some(_)) => Ok(HeadSource::Both),
            (false, _, None) => Err(ModelError::MissingHead { dir: checkpoint.dir().to_owned(), name: stored_head }),
            (true, _, None) => Ok(HeadSource::Embedding),
            (true, None, Some(_)) => Ok(HeadSource::Head),
            (true, Some(embedding), Some(head)) => {
                Ok(if equal(&embedding, &head) { HeadSource::Embedding } else { HeadSource::Both })
            }
        }
    }

    /// Unties the head if it has values of its own.
    pub(super) fn apply(self, modules: &mut Modules) {
        if let (HeadSource::Both, Some(head)) = (self, modules.head().map(|head| head.id)) {
            modules.set_head(head, None);
        }
    }

    /// The parameter under whose name the values of `parameter` are stored.
    pub(super) fn source<'a>(self, parameter: &'a Parameter, modules: &'a Modules) -> &'a str {
        let head = modules.head().map(|head| modules.parameter(head.weight));
        let other = match (self, head) {
            (HeadSource::Embedding, Some(head)) if head.id == parameter.id => {
                head.tied_to.map(|embedding| modules.parameter(embedding))
            }
            (HeadSource::Head, Some(head)) if head.tied_to == Some(parameter.id) => Some(head),
            _ => None,
        };
        &other.unwrap_or(parameter).name
    }
}

fn equal(a: &MappedTensor, b: &MappedTensor) -> bool {
    a.dtype() == b.dtype() && a.shape() == b.shape() && a.bytes() == b.bytes()
}
