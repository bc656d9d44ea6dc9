//! An adapter directory in PEFT's layout, or AdapterHub's.

use std::path::{Path, PathBuf};

use crate::directory::{file_names, pickle_hint};
use crate::{CheckpointError, SafetensorsFile, read_text};

/// The adapter's configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The adapter's tensors.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// The tensors of an adapter that AdapterHub saved.
pub const ADAPTERHUB_WEIGHTS: &str = "adapter.safetensors";
/// The model's head, trained with it.
pub const ADAPTERHUB_HEAD: &str = "model_head.safetensors";
/// The tensors of the adapter as a pickle, AdapterHub's default.
const ADAPTERHUB_PICKLE: &str = "pytorch_adapter.bin";
/// What training needs to go on from an adapter whose tensors are computed by an encoder: the encoder. PEFT does not have it.
pub const ENCODER_STATE: &str = "encoder_state.safetensors";
/// Real ones have a few kilobytes; a million module names fit in this.
const MAX_CONFIG: u64 = 64 << 20;

/// `adapter_config.json` as text and `adapter_model.safetensors`, or AdapterHub's `adapter.safetensors`, mapped and checked.
#[derive(Debug)]
pub struct AdapterDirectory {
    dir: PathBuf,
    /// The text of `adapter_config.json`.
    pub config: String,
    /// The tensors.
    pub weights: SafetensorsFile,
    /// [`ENCODER_STATE`], if it is there.
    pub encoder_state: Option<SafetensorsFile>,
    /// [`ADAPTERHUB_HEAD`], if it is there.
    pub head: Option<SafetensorsFile>,
}

impl AdapterDirectory {
    /// Opens the adapter in `dir`.
    ///
    /// # Errors
    /// [`CheckpointError::NoWeights`] with what is there instead (`adapter_model.bin` and `pytorch_adapter.bin` are pickles and
    /// refused); those
    /// of [`SafetensorsFile::open`] and [`read_text`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let dir = dir.into();
        let names = file_names(&dir)?;
        let missing = |expected, hint| CheckpointError::NoWeights { dir: dir.clone(), expected, hint };
        if !names.iter().any(|name| name == ADAPTER_CONFIG) {
            return Err(missing(ADAPTER_CONFIG, "; it is no adapter in PEFT's format".to_owned()));
        }
        let is_there = |file: &&str| names.iter().any(|name| name == file);
        let Some(file) = [ADAPTER_WEIGHTS, ADAPTERHUB_WEIGHTS].into_iter().find(is_there) else {
            if is_there(&ADAPTERHUB_PICKLE) {
                let hint = format!(
                    "; {ADAPTERHUB_PICKLE} is a pickle, which can run code and is not read: save it again in Python with \
                     save_adapter(..., use_safetensors=True)"
                );
                return Err(missing(ADAPTERHUB_WEIGHTS, hint));
            }
            let hint =
                pickle_hint(&names, "adapter_model").unwrap_or_else(|| "; it was not saved completely".to_owned());
            return Err(missing(ADAPTER_WEIGHTS, hint));
        };
        let config = read_text(&dir.join(ADAPTER_CONFIG), MAX_CONFIG)?;
        let weights = SafetensorsFile::open(dir.join(file))?;
        let optional = |file: &str| {
            let has_it = names.iter().any(|name| name == file);
            has_it.then(|| SafetensorsFile::open(dir.join(file))).transpose()
        };
        let (encoder_state, head) = (optional(ENCODER_STATE)?, optional(ADAPTERHUB_HEAD)?);
        Ok(Self { dir, config, weights, encoder_state, head })
    }

    /// An adapter that another program saved in `dir`, with the configuration and the tensors that PEFT would have saved.
    pub fn translated(dir: impl Into<PathBuf>, config: String, weights: SafetensorsFile) -> Self {
        Self { dir: dir.into(), config, weights, encoder_state: None, head: None }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
