//! The configuration of bottleneck adapters.

use peft::AdapterConfig;
use peft::bottleneck::{BottleneckConfig, ModelFacts};

use super::init_from;
use crate::Error;
use crate::config::Config;

/// The configuration of bottleneck adapters of `config`.
pub(super) fn config(config: &Config) -> Result<BottleneckConfig, Error> {
    let settings = &config.adapter.bottleneck;
    let own = match init_from(config)? {
        None => settings.over_preset(),
        Some((dir, AdapterConfig::Bottleneck(saved))) => {
            let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
            settings.over_adapter(&saved).map_err(conflict)?
        }
        Some((dir, _)) => {
            return Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method });
        }
    };
    let model_name = config.model.path.display().to_string();
    Ok(BottleneckConfig { model: ModelFacts { model_name, ..ModelFacts::default() }, ..own })
}
