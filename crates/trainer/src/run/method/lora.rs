//! LoRA's configuration.

use model::Base;
use peft::lora::LoraConfig;
use peft::{AdapterConfig, ModuleNames};

use super::{common, init_from};
use crate::Error;
use crate::config::Config;

/// The LoRA configuration of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<LoraConfig, Error> {
    let (settings, selection) = (&config.adapter.lora, &config.adapter.selection);
    let common = common(config);
    let Some((dir, saved)) = init_from(config)? else {
        return Ok(LoraConfig { common, ..settings.over_defaults(selection) });
    };
    let AdapterConfig::Lora(saved) = saved else {
        return Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method });
    };
    let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
    let mut merged = settings.over_adapter(selection, &saved).map_err(conflict)?;
    if merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
        // Saved as the names it meant.
        let names = |lora: &LoraConfig| peft::lora::trainable(lora, base.dimensions().model_type, base.modules());
        let (all, same) = (names(&merged)?, names(&saved)?);
        if !all.iter().map(|(name, _)| name).eq(same.iter().map(|(name, _)| name)) {
            let line =
                format!("adapter.target_modules means {} tensors, and the adapter has {}", all.len(), same.len());
            return Err(conflict(vec![line]));
        }
        merged.target_modules.clone_from(&saved.target_modules);
    }
    Ok(LoraConfig { common, ..merged })
}
