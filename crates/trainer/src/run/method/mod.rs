//! The method that a config asks for, attached to a model.

mod adalora;
mod bottleneck;
mod ia3;
mod ln_tuning;
mod lora;
mod pixel_prompt;
mod prompt_learning;
mod trainable_tokens;
mod vera;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use checkpoint::AdapterDirectory;
use model::Base;
use peft::prompt_learning::{PTuning, PrefixTuning, PromptMethod, PromptTuning};
use peft::{AdapterConfig, Common, Full, Method, TaskType, Warnings, formats};
use serde_json::json;

use crate::Error;
use crate::config::{self, Config, Selection};
use crate::run::base_model::BaseModel;

/// The method of `config` on `base`, with its values as they are before step 1.
///
/// # Errors
/// A configuration that does not fit the model, or the adapter to go on from.
pub fn build(config: &Config, base_model: &BaseModel) -> Result<(Arc<dyn Method>, Warnings), Error> {
    let base = base_model.task.base();
    let Some(adapter) = adapter_config(config, base)? else {
        if base.modules().iter().any(|module| base.quantized(module.weight).is_some()) {
            return Err(Error::FullQuantized { dir: base_model.dir.clone() });
        }
        return Ok((Arc::new(Full::new(base)?), Warnings::new()));
    };
    let Some(dir) = &config.adapter.init_from else {
        return match adapter {
            AdapterConfig::PromptLearning(adapter) => prompt_learning::attach(adapter, config, base_model),
            other => Ok(peft::attach(other, base, config.training.seed)?),
        };
    };
    let directory = formats::read(dir, Some(base.into()))?;
    let (_, mut warnings) = saved_config(&directory)?;
    let (method, more) = peft::restore(adapter.clone(), base, &directory)?;
    warnings.extend(more);
    if let AdapterConfig::PromptLearning(adapter) = &adapter {
        warnings.extend(prompt_learning::without_encoder(adapter, method.as_ref()));
    }
    Ok((method, warnings))
}

/// Virtual tokens that the method of `config` sets before each sequence.
///
/// # Errors
/// As [`adapter_config`].
pub fn num_virtual_tokens(config: &Config, base: &Base) -> Result<usize, Error> {
    Ok(match adapter_config(config, base)? {
        Some(AdapterConfig::PromptLearning(adapter)) => adapter.num_virtual_tokens,
        _ => 0,
    })
}

/// The configuration of the adapter that `config` trains: PEFT's defaults under its keys, or the structure of the adapter it
/// goes on from. `None` for full fine-tuning.
///
/// # Errors
/// An adapter of another method, or keys that are set to something else than it has.
pub fn adapter_config(config: &Config, base: &Base) -> Result<Option<AdapterConfig>, Error> {
    let prompt_learning = |method| prompt_learning::config(config, base, method).map(AdapterConfig::PromptLearning);
    Ok(match config.adapter.method {
        config::Method::Full if config.adapter.init_from.is_some() => return Err(Error::FullFromAdapter),
        config::Method::Full => None,
        config::Method::Bottleneck => Some(AdapterConfig::Bottleneck(bottleneck::config(config, base)?)),
        config::Method::Lora => Some(AdapterConfig::Lora(lora::config(config, base)?)),
        config::Method::AdaLora => Some(AdapterConfig::AdaLora(adalora::config(config, base)?)),
        config::Method::Vera => Some(AdapterConfig::Vera(vera::config(config, base)?)),
        config::Method::Ia3 => Some(AdapterConfig::Ia3(ia3::config(config, base)?)),
        config::Method::LnTuning => Some(AdapterConfig::LnTuning(ln_tuning::config(config, base)?)),
        config::Method::TrainableTokens => {
            Some(AdapterConfig::TrainableTokens(trainable_tokens::config(config, base)?))
        }
        config::Method::PixelPrompt => Some(AdapterConfig::PixelPrompt(pixel_prompt::config(config, base)?)),
        config::Method::PromptTuning => Some(prompt_learning(PromptMethod::PromptTuning(PromptTuning::default()))?),
        config::Method::PrefixTuning => Some(prompt_learning(PromptMethod::PrefixTuning(PrefixTuning::default()))?),
        config::Method::PTuning => Some(prompt_learning(PromptMethod::PTuning(PTuning::default()))?),
    })
}

/// The configuration of a saved adapter.
fn saved_config(directory: &AdapterDirectory) -> Result<(AdapterConfig, Warnings), Error> {
    Ok(AdapterConfig::read(&formats::config_path(directory), &directory.config)?)
}

/// The adapter to go on from, if there is one.
fn init_from<'a>(config: &'a Config, base: &Base) -> Result<Option<(&'a Path, AdapterConfig)>, Error> {
    let Some(dir) = &config.adapter.init_from else { return Ok(None) };
    let (saved, _) = saved_config(&formats::read(dir, Some(base.into()))?)?;
    Ok(Some((dir, saved)))
}

/// Checks that `"all-linear"`, which is saved as the names that it meant, means what the adapter has.
///
/// # Errors
/// Outside, a configuration that does not fit the model; inside, a line with both numbers of tensors.
fn check_same_parameters(
    all: &AdapterConfig,
    saved: &AdapterConfig,
    base: &Base,
) -> Result<Result<(), Vec<String>>, Error> {
    let declared = |config| peft::trainable(config, base.dimensions(), base.modules());
    let (all, saved) = (declared(all)?, declared(saved)?);
    if all.iter().map(|(name, _)| name).eq(saved.iter().map(|(name, _)| name)) {
        return Ok(Ok(()));
    }
    let line = format!("adapter.target_modules means {} tensors, and the adapter has {}", all.len(), saved.len());
    Ok(Err(vec![line]))
}

/// What a saved configuration says about the base.
fn common(config: &Config, base: &Base) -> Common {
    let is_image = config.model.task_type == config::TaskType::ImageClassification;
    let (class, model_type) = (base.dimensions().architecture, base.dimensions().model_type);
    Common {
        base_model_name_or_path: Some(config.model.path.display().to_string()),
        task_type: match config.model.task_type {
            config::TaskType::CausalLm => Some(TaskType::CausalLm),
            config::TaskType::SequenceClassification => Some(TaskType::SeqCls),
            config::TaskType::TokenClassification => Some(TaskType::TokenCls),
            config::TaskType::Seq2SeqLm => Some(TaskType::Seq2SeqLm),
            // PEFT has no such task; it notes the class of the model instead.
            config::TaskType::ImageClassification => None,
        },
        auto_mapping: is_image.then(|| {
            let library = format!("transformers.models.{model_type}.modeling_{model_type}");
            json!({ "base_model_class": class, "parent_library": library })
        }),
        ..Common::default()
    }
}

/// Which modules a new adapter changes. The head of a classifier of images is trained unless something else is asked for: for
/// the other classifiers PEFT's `task_type` says so, and images have none.
fn selection(config: &Config) -> Cow<'_, Selection> {
    let selection = &config.adapter.selection;
    let is_image = config.model.task_type == config::TaskType::ImageClassification;
    if !is_image || selection.modules_to_save.is_some() || config.adapter.init_from.is_some() {
        return Cow::Borrowed(selection);
    }
    Cow::Owned(Selection { modules_to_save: Some(vec!["classifier".to_owned()]), ..selection.clone() })
}
