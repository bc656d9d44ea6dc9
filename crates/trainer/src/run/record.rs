//! What a run writes down about itself when it begins, and repeats in every checkpoint.

use std::path::Path;

use checkpoint::{CheckpointError, Fs, Manifest, atomic_write, read_json};
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
    /// It cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = dir.join(RUN_FILE);
        if path.exists() { read_json(&path, LIMIT).map(Some) } else { Ok(None) }
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
