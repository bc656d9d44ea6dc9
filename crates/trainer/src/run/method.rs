//! The method that a config asks for, attached to a model.

use std::sync::Arc;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory};
use model::Decoder;
use peft::lora::{Lora, LoraConfig};
use peft::{AdapterConfig, Full, Method, ModuleNames, TaskType, Warnings};

use super::base_model::BaseModel;
use crate::Error;
use crate::config::{self, Config};

/// The method of `config` on `base`, with its values as they are before step 1.
///
/// # Errors
/// A configuration that does not fit the model, or the adapter to go on from.
pub fn build(config: &Config, base: &BaseModel) -> Result<(Arc<dyn Method>, Warnings), Error> {
    let seed = config.training.seed;
    match (config.adapter.method, &config.adapter.init_from) {
        (config::Method::Full, Some(_)) => Err(Error::FullFromAdapter),
        (config::Method::Full, None) => Ok((Arc::new(Full::new(&base.decoder)?), Warnings::new())),
        (config::Method::Lora, None) => {
            let (lora, warnings) = Lora::new(lora_config(config, &base.decoder)?, &base.decoder, seed)?;
            Ok((Arc::new(lora), warnings))
        }
        (config::Method::Lora, Some(dir)) => {
            let (lora, mut warnings) = Lora::new(lora_config(config, &base.decoder)?, &base.decoder, seed)?;
            let directory = AdapterDirectory::open(dir)?;
            warnings.extend(AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?.1);
            peft::load(&lora, &directory.weights)?;
            Ok((Arc::new(lora), warnings))
        }
    }
}

/// The LoRA configuration of `config`: PEFT's defaults under its keys, or the structure of the adapter it goes on from.
///
/// # Errors
/// An adapter that is not LoRA, or keys that are set to something else than it has.
pub fn lora_config(config: &Config, base: &Decoder) -> Result<LoraConfig, Error> {
    let settings = &config.adapter.lora;
    let Some(dir) = &config.adapter.init_from else { return Ok(named(settings.over_defaults(), config)) };
    let directory = AdapterDirectory::open(dir)?;
    let (saved, _) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    let AdapterConfig::Lora(saved) = saved else {
        return Err(Error::NotLora { dir: dir.clone() });
    };
    let conflict = |differences| Error::OtherStructure { dir: dir.clone(), differences };
    let mut merged = settings.over_adapter(&saved).map_err(conflict)?;
    if merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
        // Saved as the names it meant.
        let names = |lora: &LoraConfig| peft::lora::trainable(lora, base.config().family.model_type, base.modules());
        let (all, same) = (names(&merged)?, names(&saved)?);
        if !all.iter().map(|(name, _)| name).eq(same.iter().map(|(name, _)| name)) {
            let line =
                format!("adapter.target_modules means {} tensors, and the adapter has {}", all.len(), same.len());
            return Err(conflict(vec![line]));
        }
        merged.target_modules.clone_from(&saved.target_modules);
    }
    Ok(named(merged, config))
}

/// With what the saved configuration says about the base.
fn named(mut lora: LoraConfig, config: &Config) -> LoraConfig {
    lora.common.base_model_name_or_path = Some(config.model.path.display().to_string());
    lora.common.task_type = Some(TaskType::CausalLm);
    lora.common.auto_mapping = None;
    lora
}
