//! A JSON object read key by key.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::PeftError;

/// The keys of a configuration that nobody has asked for yet.
pub(crate) struct Fields {
    path: PathBuf,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses the text of the file `path`.
    ///
    /// # Errors
    /// [`PeftError::Checkpoint`] with line and column.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, PeftError> {
        Ok(Self { path: path.to_owned(), map: checkpoint::parse_json(path, text)? })
    }

    /// The value of `key`; `None` if it is absent or null.
    ///
    /// # Errors
    /// [`PeftError::ConfigKey`] if it is not a `T`.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, PeftError> {
        match self.map.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| self.wrong(key, error.to_string())),
        }
    }

    /// The object under `key`, which is no longer one of these keys; `None` if there is none.
    pub(crate) fn object(&mut self, key: &str) -> Option<Self> {
        match self.map.get_mut(key) {
            Some(Value::Object(map)) => {
                let map = std::mem::take(map);
                self.ignore(key);
                Some(Self { path: self.path.clone(), map })
            }
            _ => None,
        }
    }

    /// Drops `key`, whatever it holds.
    pub(crate) fn ignore(&mut self, key: &str) {
        self.map.shift_remove(key);
    }

    /// Drops `key` if it says that a feature is not used: it is absent, null, false or empty.
    ///
    /// # Errors
    /// [`PeftError::Unsupported`] if it says anything else.
    pub(crate) fn refuse(&mut self, key: &str) -> Result<(), PeftError> {
        match self.map.shift_remove(key) {
            Some(value) if !is_off(&value) => {
                Err(PeftError::Unsupported { path: self.path.clone(), key: key.to_owned(), value: value.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// One line for every key that is left and says something: its meaning is unknown here.
    pub(crate) fn finish(self) -> Vec<String> {
        let Self { path, map } = self;
        let left = map.into_iter().filter(|(_, value)| !is_off(value));
        left.map(|(key, _)| format!("{}: {} is unknown and ignored", path.display(), checkpoint::Quoted(&key)))
            .collect()
    }

    /// The error that `key` cannot hold what it holds.
    pub(crate) fn wrong(&self, key: &str, reason: impl Into<String>) -> PeftError {
        // The reason may quote the file, which must not write to the reader's terminal.
        let reason = reason.into().replace(char::is_control, "\u{fffd}");
        PeftError::ConfigKey { path: self.path.clone(), key: key.to_owned(), reason }
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
