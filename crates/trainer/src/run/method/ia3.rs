//! The configuration of (IA)^3.

use model::Base;
use peft::ia3::Ia3Config;
use peft::{AdapterConfig, ModuleNames};

use super::{check_same_parameters, common, init_from, selection};
use crate::Error;
use crate::config::Config;

/// The (IA)^3 configuration of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<Ia3Config, Error> {
    let (settings, selection) = (&config.adapter.ia3, &*selection(config));
    let common = common(config, base);
    let Some((dir, saved)) = init_from(config, base)? else {
        return Ok(Ia3Config { common, ..settings.over_defaults(selection) });
    };
    let AdapterConfig::Ia3(saved) = saved else {
        return Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method });
    };
    let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
    let mut merged = settings.over_adapter(selection, &saved).map_err(conflict)?;
    if merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
        let (all, same) = (AdapterConfig::Ia3(merged.clone()), AdapterConfig::Ia3(saved.clone()));
        check_same_parameters(&all, &same, base)?.map_err(conflict)?;
        merged.target_modules.clone_from(&saved.target_modules);
    }
    Ok(Ia3Config { common, ..merged })
}
