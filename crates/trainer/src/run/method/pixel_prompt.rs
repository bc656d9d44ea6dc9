//! The configuration of pixel prompts.

use model::Base;
use peft::AdapterConfig;
use peft::pixel_prompt::PixelPromptConfig;

use super::{common, init_from, selection};
use crate::Error;
use crate::config::Config;

/// The configuration of a pixel prompt of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<PixelPromptConfig, Error> {
    let (settings, selection) = (&config.adapter.pixel_prompt, &*selection(config));
    let common = common(config, base);
    match init_from(config, base)? {
        None => Ok(PixelPromptConfig { common, ..settings.over_defaults(selection) }),
        Some((dir, AdapterConfig::PixelPrompt(saved))) => {
            let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
            Ok(PixelPromptConfig { common, ..settings.over_adapter(selection, &saved).map_err(conflict)? })
        }
        Some((dir, _)) => Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method }),
    }
}
