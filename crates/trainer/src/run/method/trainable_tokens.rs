//! The configuration of trainable tokens.

use model::Base;
use peft::AdapterConfig;
use peft::trainable_tokens::TrainableTokensConfig;

use super::{common, init_from, selection};
use crate::Error;
use crate::config::Config;

/// The configuration of trainable tokens of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<TrainableTokensConfig, Error> {
    let (settings, selection) = (&config.adapter.trainable_tokens, &*selection(config));
    let common = common(config, base);
    match init_from(config, base)? {
        None => Ok(TrainableTokensConfig { common, ..settings.over_defaults(selection) }),
        Some((dir, AdapterConfig::TrainableTokens(saved))) => {
            let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
            let merged = settings.over_adapter(selection, &saved).map_err(conflict)?;
            Ok(TrainableTokensConfig { common, ..merged })
        }
        Some((dir, _)) => Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method }),
    }
}
