//! From a configuration or a directory to a method that is attached to a model.

use std::path::Path;
use std::sync::Arc;

use checkpoint::AdapterDirectory;
use model::{Base, Dimensions, Modules};
use tensor::Shape;

use crate::adalora::{self, AdaLora};
use crate::bottleneck::{self, Bottleneck};
use crate::ia3::{self, Ia3};
use crate::ln_tuning::{self, LnTuning};
use crate::lora::{self, Lora};
use crate::method::Method;
use crate::pixel_prompt::{self, PixelPrompt};
use crate::prompt_learning::{self, PromptLearning};
use crate::trainable_tokens::{self, TrainableTokens};
use crate::vera::{self, Vera};
use crate::{AdapterConfig, PeftError, Warnings, formats};

/// Attaches a new adapter to `base`, its starting values drawn from `seed`. With it are trained and saved the head of a
/// classifier, and what [`Base::newly_initialized`] lists, which a warning says.
///
/// # Errors
/// Those of the method, such as [`Lora::new`].
pub fn attach(config: AdapterConfig, base: &Base, seed: u64) -> Result<(Arc<dyn Method>, Warnings), PeftError> {
    let (config, mut warnings) = config.with_heads(Some(base));
    let (method, more) = match config {
        AdapterConfig::Lora(config) => shared(Lora::new(config, base, seed)),
        AdapterConfig::Ia3(config) => shared(Ia3::new(config, base, seed)),
        AdapterConfig::Bottleneck(config) => shared(Bottleneck::new(config, base, seed)),
        AdapterConfig::PromptLearning(config) => shared(PromptLearning::new(config, base, seed)),
        AdapterConfig::PixelPrompt(config) => shared(PixelPrompt::new(config, base, seed)),
        AdapterConfig::LnTuning(config) => shared(LnTuning::new(config, base)),
        AdapterConfig::Vera(config) => shared(Vera::new(config, base, seed)),
        AdapterConfig::AdaLora(config) => shared(AdaLora::new(config, base, seed)),
        AdapterConfig::TrainableTokens(config) => shared(TrainableTokens::new(config, base, seed)),
    }?;
    warnings.extend(more);
    Ok((method, warnings))
}

/// Attaches the adapter saved in `dir`, in any of the [`formats`], to `base`.
///
/// # Errors
/// Those of [`formats::read`], [`AdapterConfig::read`] and [`restore`], with the name of the file: [`PeftError::InFile`] for
/// a configuration that does not suit the model.
pub fn open(dir: &Path, base: &Base) -> Result<(Arc<dyn Method>, Warnings), PeftError> {
    let directory = formats::read(dir, Some(base.into()))?;
    let path = formats::config_path(&directory);
    let (config, mut warnings) = AdapterConfig::read(&path, &directory.config)?;
    let (method, more) = restore(config, base, &directory).map_err(|e| e.in_file(&path))?;
    warnings.extend(more);
    Ok((method, warnings))
}

/// Attaches the adapter that was saved with `config` in `directory` to `base`.
///
/// # Errors
/// Those of the method, such as [`Lora::load`].
pub fn restore(
    config: AdapterConfig,
    base: &Base,
    directory: &AdapterDirectory,
) -> Result<(Arc<dyn Method>, Warnings), PeftError> {
    let file = &directory.weights;
    match config.with_heads(None).0 {
        AdapterConfig::Lora(config) => shared(Lora::load(config, base, file)),
        AdapterConfig::Ia3(config) => shared(Ia3::load(config, base, file)),
        AdapterConfig::Bottleneck(config) => shared(Bottleneck::load(config, base, directory)),
        AdapterConfig::PromptLearning(config) => shared(PromptLearning::load(config, base, directory)),
        AdapterConfig::PixelPrompt(config) => shared(PixelPrompt::load(config, base, file)),
        AdapterConfig::LnTuning(config) => shared(LnTuning::load(config, base, file)),
        AdapterConfig::Vera(config) => shared(Vera::load(config, base, file)),
        AdapterConfig::AdaLora(config) => shared(AdaLora::load(config, base, file)),
        AdapterConfig::TrainableTokens(config) => shared(TrainableTokens::load(config, base, file)),
    }
}

/// One of the methods as any.
fn shared<M: Method + 'static>(
    made: Result<(M, Warnings), PeftError>,
) -> Result<(Arc<dyn Method>, Warnings), PeftError> {
    made.map(|(method, warnings)| (Arc::new(method) as Arc<dyn Method>, warnings))
}

/// Names and sizes of the parameters that `config` trains in a model of these dimensions and modules, without its weights:
/// to say what a run will need.
///
/// # Errors
/// As [`attach`].
pub fn trainable(
    config: &AdapterConfig,
    dimensions: &Dimensions,
    modules: &Modules,
) -> Result<Vec<(String, Shape)>, PeftError> {
    match &config.clone().with_heads(None).0 {
        AdapterConfig::Lora(config) => lora::trainable(config, dimensions.model_type, modules),
        AdapterConfig::Bottleneck(config) => bottleneck::trainable(config, dimensions, modules),
        AdapterConfig::Ia3(config) => ia3::trainable(config, dimensions.model_type, modules),
        AdapterConfig::PromptLearning(config) => prompt_learning::trainable(config, dimensions, modules),
        AdapterConfig::PixelPrompt(config) => pixel_prompt::trainable(config, dimensions, modules),
        AdapterConfig::LnTuning(config) => ln_tuning::trainable(config, dimensions.model_type, modules),
        AdapterConfig::Vera(config) => vera::trainable(config, dimensions.model_type, modules),
        AdapterConfig::AdaLora(config) => adalora::trainable(config, dimensions.model_type, modules),
        AdapterConfig::TrainableTokens(config) => trainable_tokens::trainable(config, modules),
    }
}
