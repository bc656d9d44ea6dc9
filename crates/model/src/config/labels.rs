//! The classes of a classifier.

use std::path::Path;

use serde_json::{Map, Value};

use super::Keys;
use crate::Result;

/// Classes by number, as `id2label` names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<String>);

/// The most classes that a file may name. It bounds the head's size; no task comes near it.
const MAX_LABELS: usize = 1 << 20;

impl Labels {
    /// `num_labels` classes that have no names of their own: `LABEL_0`, `LABEL_1`, ...
    pub fn numbered(num_labels: usize) -> Self {
        Self((0..num_labels).map(|id| format!("LABEL_{id}")).collect())
    }

    /// Classes of these names.
    pub fn named(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Those of a `config.json`, or of another file with an `id2label`; `path` is what messages call it.
    ///
    /// # Errors
    /// [`crate::ModelError::Key`] or [`crate::ModelError::Unsupported`] for a key that cannot be used.
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self> {
        Self::read(&Keys::new(path, json))
    }

    /// `id2label`, or `num_labels` without names. A file without either means two classes.
    pub(crate) fn read(keys: &Keys<'_>) -> Result<Self> {
        if let Some(problem @ "multi_label_classification") = keys.text("problem_type")? {
            return Err(keys.unsupported("problem_type", format!("{problem}: one label for each row is trained on")));
        }
        let labels = match keys.numbered_texts("id2label")? {
            Some(names) => Self(names.into_iter().map(str::to_owned).collect()),
            None => Self::numbered(keys.bounded_size("num_labels", 2, MAX_LABELS)?),
        };
        match keys.text("problem_type")? {
            Some("regression") if labels.len() > 1 => {
                Err(keys.unsupported("problem_type", "a regression has one value for each row: give it one label"))
            }
            _ => Ok(labels),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, by number.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether the model predicts a number and no class: transformers takes one label for that.
    pub fn is_regression(&self) -> bool {
        self.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_without_names_are_numbered() {
        assert_eq!(Labels::numbered(2).names(), ["LABEL_0", "LABEL_1"]);
        assert!(Labels::numbered(1).is_regression() && !Labels::numbered(2).is_regression());
    }
}
