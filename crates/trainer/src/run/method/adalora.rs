//! AdaLoRA's configuration.

use model::Base;
use peft::adalora::AdaLoraConfig;
use peft::lora::LoraConfig;
use peft::{AdapterConfig, ModuleNames};

use super::{check_same_parameters, common, init_from, selection};
use crate::Error;
use crate::config::Config;

/// The AdaLoRA configuration of `config`, whose ranks are distributed over all steps of the training.
pub(super) fn config(config: &Config, base: &Base) -> Result<AdaLoraConfig, Error> {
    let (settings, lora, selection) = (&config.adapter.adalora, &config.adapter.lora, &*selection(config));
    let with_common = |adalora: AdaLoraConfig| AdaLoraConfig {
        lora: LoraConfig { common: common(config, base), ..adalora.lora },
        ..adalora
    };
    // Without either the configuration is refused.
    let steps = settings.total_step.or(config.training.max_steps).unwrap_or(0);
    let Some((dir, saved)) = init_from(config, base)? else {
        return Ok(with_common(settings.over_defaults(lora, selection, steps)));
    };
    let AdapterConfig::AdaLora(saved) = saved else {
        return Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method });
    };
    let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
    let mut merged = settings.over_adapter(lora, selection, &saved, steps).map_err(conflict)?;
    if merged.lora.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
        let (all, same) = (AdapterConfig::AdaLora(merged.clone()), AdapterConfig::AdaLora(saved.clone()));
        check_same_parameters(&all, &same, base)?.map_err(conflict)?;
        merged.lora.target_modules.clone_from(&saved.lora.target_modules);
    }
    Ok(with_common(merged))
}
