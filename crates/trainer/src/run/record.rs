//! What a run writes down about itself when it begins, and repeats in every checkpoint.

use std::path::Path;

use checkpoint::{CheckpointError, Fs, Manifest, atomic_write, read_text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::OutputError;
use super::identity::Identity;

/// The file in the output directory.
pub const RUN_FILE: &str = "run.json";
const LIMIT: u64 = 16 << 20;

/// What a later process has to know before it touches anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The program's version.
    pub version: String,
    /// Steps done.
    pub step: u64,
    /// Seconds since 1970 when the run began: what a chat template's `strftime_now` reads, also after a resume.
    pub started_at: i64,
    /// What decides its numbers.
    pub identity: Identity,
}

impl RunRecord {
    /// Of a run at its beginning.
    pub fn new(identity: Identity, started_at: i64) -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), step: 0, started_at, identity }
    }

    /// The record in `dir`, if a run has begun there.
    ///
    /// # Errors
    /// Those of [`read_written`].
    pub fn read(dir: &Path) -> Result<Option<Self>, OutputError> {
        let path = dir.join(RUN_FILE);
        if path.exists() { read_written(&path, LIMIT).map(Some) } else { Ok(None) }
    }

    /// The record of a checkpoint.
    ///
    /// # Errors
    /// It is not there.
    pub fn of(dir: &Path, manifest: &Manifest) -> Result<Self, OutputError> {
        serde_json::from_value(Value::Object(manifest.state.clone())).map_err(|error| OutputError::State {
            path: dir.join(checkpoint::MANIFEST),
            reason: format!("its state is not that of a run: {error}"),
        })
    }

    /// Writes it to `dir`.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, dir: &Path, fs: &dyn Fs) -> Result<(), CheckpointError> {
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        atomic_write(fs, &dir.join(RUN_FILE), &json)
    }

    /// As the state of a manifest.
    pub fn to_state(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}

/// The file `path` of at most `limit` bytes, which a run has written to its output directory.
///
/// # Errors
/// [`OutputError::Broken`] if no run writes such a file; those of the file system.
pub fn read_written<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, OutputError> {
    let broken = |reason: String| OutputError::Broken { path: path.to_owned(), reason };
    let text = match read_text(path, limit) {
        Ok(text) if text.is_empty() => return Err(broken("it is empty".to_owned())),
        Err(CheckpointError::Json { line, reason, .. }) => return Err(broken(format!("line {line} is {reason}"))),
        other => other?,
    };
    // What the parser expects are names of this program.
    let place = |error: serde_json::Error| format!("at line {}, column {}", error.line(), error.column());
    serde_json::from_str(&text)
        .map_err(|error| broken(format!("it differs from what is written there {}", place(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_record_is_told_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(RunRecord::read(dir.path()), Ok(None)));
        let told = |bytes: &[u8]| {
            std::fs::write(dir.path().join(RUN_FILE), bytes).unwrap();
            RunRecord::read(dir.path()).unwrap_err().to_string()
        };
        for (bytes, reason) in [
            (&b""[..], "it is empty"),
            (b"{\n\"version\": 1}", "at line 2, column 12"),
            (b"[]", "at line 1, column"),
            (b"{\n\xff", "line 2 is not UTF-8"),
        ] {
            let message = told(bytes);
            assert!(message.contains("run.json is broken: ") && message.contains(reason), "{message}");
            assert!(message.contains("training.resume = \"never\"") && !message.contains("fetch"), "{message}");
            assert!(!message.contains("RunRecord"), "{message}");
        }
    }
}
