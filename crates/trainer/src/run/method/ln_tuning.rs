//! The configuration of LN tuning.

use model::Base;
use peft::AdapterConfig;
use peft::ln_tuning::LnTuningConfig;

use super::{common, init_from, selection};
use crate::Error;
use crate::config::Config;

/// The configuration of LN tuning of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<LnTuningConfig, Error> {
    let (selection, common) = (&*selection(config), common(config, base));
    match init_from(config, base)? {
        None => Ok(LnTuningConfig { common, ..selection.ln_tuning() }),
        Some((dir, AdapterConfig::LnTuning(saved))) => {
            let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
            Ok(LnTuningConfig { common, ..selection.ln_tuning_over(&saved).map_err(conflict)? })
        }
        Some((dir, _)) => Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method }),
    }
}
