//! The method that a config asks for, attached to a model.

use std::path::Path;
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
        (config::Method::Full, Some(_)) => Err(Error::Setting(
            "adapter.init_from goes on from an adapter, and adapter.method = \"full\" has none; set model.path to the \
             model to go on from"
                .to_owned(),
        )),
        (config::Method::Full, None) => Ok((Arc::new(Full::new(&base.decoder)?), Warnings::new())),
        (config::Method::Lora, None) => {
            let lora = named(config.adapter.lora.over_defaults(), config);
            let (lora, warnings) = Lora::new(lora, &base.decoder, seed)?;
            Ok((Arc::new(lora), warnings))
        }
        (config::Method::Lora, Some(dir)) => {
            let (lora, warnings) = go_on_from(dir, config, &base.decoder)?;
            Ok((Arc::new(lora), warnings))
        }
    }
}

/// An adapter in PEFT's format with the structure it was saved with.
fn go_on_from(dir: &Path, config: &Config, base: &Decoder) -> Result<(Lora, Warnings), Error> {
    let directory = AdapterDirectory::open(dir)?;
    let (saved, mut warnings) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    let AdapterConfig::Lora(saved) = saved else {
        return Err(Error::Setting(format!(
            "{} is no LoRA adapter; name one, or change adapter.method",
            dir.display()
        )));
    };
    let conflict = |lines: Vec<String>| {
        let lines = lines.iter().map(|line| format!("\n  {line}")).collect::<String>();
        Error::Setting(format!("{} and the config disagree; remove the keys:{lines}", dir.display()))
    };
    let settings = &config.adapter.lora;
    let mut merged = settings.over_adapter(&saved).map_err(conflict)?;
    if merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
        // Saved as the names it meant.
        let (all, _) = Lora::new(merged.clone(), base, 0)?;
        let (same, _) = Lora::new(saved.clone(), base, 0)?;
        let adapted = |lora: &Lora| -> Vec<String> { adapted_modules(lora, base).map(str::to_owned).collect() };
        if adapted(&all) != adapted(&same) {
            let (all, same) = (adapted(&all).len(), adapted(&same).len());
            let line = format!("adapter.target_modules means {all} modules, and the adapter has {same}");
            return Err(conflict(vec![line]));
        }
        merged.target_modules.clone_from(&saved.target_modules);
    }
    let (lora, more) = Lora::new(named(merged, config), base, config.training.seed)?;
    warnings.extend(more);
    peft::load(&lora, &directory.weights)?;
    Ok((lora, warnings))
}

/// With what the saved configuration says about the base.
fn named(mut lora: LoraConfig, config: &Config) -> LoraConfig {
    lora.common.base_model_name_or_path = Some(config.model.path.display().to_string());
    lora.common.task_type = Some(TaskType::CausalLm);
    lora.common.auto_mapping = None;
    lora
}

/// The paths of the modules that `method` adapts, in model order.
pub fn adapted_modules<'a>(method: &'a dyn Method, base: &'a Decoder) -> impl Iterator<Item = &'a str> {
    base.modules().iter().filter(|module| method.adapts(module.id)).map(|module| module.path.as_str())
}
