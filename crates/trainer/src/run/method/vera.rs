//! VeRA's configuration.

use model::Base;
use peft::vera::VeraConfig;
use peft::{AdapterConfig, ModuleNames};

use super::{check_same_parameters, common, init_from, selection};
use crate::Error;
use crate::config::Config;

/// The VeRA configuration of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<VeraConfig, Error> {
    let (settings, lora, selection) = (&config.adapter.vera, &config.adapter.lora, &*selection(config));
    let common = common(config, base);
    let Some((dir, saved)) = init_from(config, base)? else {
        return Ok(VeraConfig { common, ..settings.over_defaults(lora, selection) });
    };
    let AdapterConfig::Vera(saved) = saved else {
        return Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method });
    };
    let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
    let mut merged = settings.over_adapter(lora, selection, &saved).map_err(conflict)?;
    if merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
        let (all, same) = (AdapterConfig::Vera(merged.clone()), AdapterConfig::Vera(saved.clone()));
        check_same_parameters(&all, &same, base)?.map_err(conflict)?;
        merged.target_modules.clone_from(&saved.target_modules);
    }
    Ok(VeraConfig { common, ..merged })
}
