//! An adapter directory in PEFT's layout.

use std::path::{Path, PathBuf};

use crate::directory::{file_names, pickle_hint};
use crate::{CheckpointError, SafetensorsFile, read_text};

/// The adapter's configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The adapter's tensors.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// Real ones have a few kilobytes; a million module names fit in this.
const MAX_CONFIG: u64 = 64 << 20;

/// `adapter_config.json` as text and `adapter_model.safetensors`, mapped and checked.
#[derive(Debug)]
pub struct AdapterDirectory {
    dir: PathBuf,
    /// The text of `adapter_config.json`.
    pub config: String,
    /// The tensors.
    pub weights: SafetensorsFile,
}

impl AdapterDirectory {
    /// Opens the adapter in `dir`.
    ///
    /// # Errors
    /// [`CheckpointError::NoWeights`] with what is there instead (an `adapter_model.bin` is a pickle and is refused); those
    /// of [`SafetensorsFile::open`] and [`read_text`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let dir = dir.into();
        let names = file_names(&dir)?;
        let missing = |expected, hint| CheckpointError::NoWeights { dir: dir.clone(), expected, hint };
        if !names.iter().any(|name| name == ADAPTER_CONFIG) {
            return Err(missing(ADAPTER_CONFIG, "; it is no adapter in PEFT's format".to_owned()));
        }
        if !names.iter().any(|name| name == ADAPTER_WEIGHTS) {
            let hint =
                pickle_hint(&names, "adapter_model").unwrap_or_else(|| "; it was not saved completely".to_owned());
            return Err(missing(ADAPTER_WEIGHTS, hint));
        }
        let config = read_text(&dir.join(ADAPTER_CONFIG), MAX_CONFIG)?;
        let weights = SafetensorsFile::open(dir.join(ADAPTER_WEIGHTS))?;
        Ok(Self { dir, config, weights })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
