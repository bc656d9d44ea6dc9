//! From a configuration or a directory to a method that is attached to a model.

use std::path::Path;
use std::sync::Arc;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory};
use model::Decoder;

use crate::lora::Lora;
use crate::method::Method;
use crate::{AdapterConfig, PeftError, Warnings};

/// Attaches a new adapter to `base`, its starting values drawn from `seed`.
///
/// # Errors
/// Those of the method, such as [`Lora::new`].
pub fn attach(config: AdapterConfig, base: &Decoder, seed: u64) -> Result<(Arc<dyn Method>, Warnings), PeftError> {
    match config {
        AdapterConfig::Lora(config) => {
            let (lora, warnings) = Lora::new(config, base, seed)?;
            Ok((Arc::new(lora), warnings))
        }
    }
}

/// Attaches the adapter saved in `dir`, in PEFT's format, to `base`.
///
/// # Errors
/// Those of [`AdapterDirectory::open`], [`AdapterConfig::read`] and of the method, such as [`Lora::load`], with the name of
/// the file: [`PeftError::InFile`] for a configuration that does not suit the model.
pub fn open(dir: &Path, base: &Decoder) -> Result<(Arc<dyn Method>, Warnings), PeftError> {
    let directory = AdapterDirectory::open(dir)?;
    let path = dir.join(ADAPTER_CONFIG);
    let (config, mut warnings) = AdapterConfig::read(&path, &directory.config)?;
    let (method, more) = match config {
        AdapterConfig::Lora(config) => Lora::load(config, base, &directory.weights).map_err(|e| e.in_file(&path))?,
    };
    warnings.extend(more);
    Ok((Arc::new(method), warnings))
}
