//! Virtual tokens: their configuration, and where they start.

use std::sync::Arc;

use data::DataError;
use model::Base;
use peft::prompt_learning::{PromptLearning, PromptLearningConfig, PromptMethod, PromptTuningInit};
use peft::{AdapterConfig, Method, PeftError, Warnings};

use super::{common, init_from, selection};
use crate::Error;
use crate::config::Config;
use crate::run::base_model::BaseModel;

/// The configuration of `config`, whose method is `method`.
pub(super) fn config(config: &Config, base: &Base, method: PromptMethod) -> Result<PromptLearningConfig, Error> {
    let (settings, selection) = (&config.adapter.prompt_learning, &*selection(config));
    let common = common(config, base);
    let Some((dir, saved)) = init_from(config, base)? else {
        return Ok(PromptLearningConfig { common, ..settings.over_defaults(method, selection) });
    };
    match saved {
        AdapterConfig::PromptLearning(saved) if saved.method.peft_type() == method.peft_type() => {
            let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
            let merged = settings.over_adapter(selection, &saved).map_err(conflict)?;
            Ok(PromptLearningConfig { common, ..merged })
        }
        _ => Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method }),
    }
}

/// New virtual tokens for `base`, started as `config` asks for.
pub(super) fn attach(
    mut adapter: PromptLearningConfig,
    config: &Config,
    base: &BaseModel,
) -> Result<(Arc<dyn Method>, Warnings), Error> {
    if let PromptMethod::PromptTuning(own) = &mut adapter.method
        && own.prompt_tuning_init == PromptTuningInit::Text
    {
        own.init_token_ids = tokens(base, own.prompt_tuning_init_text.as_deref().unwrap_or_default())?;
        // PEFT does not read a configuration with a text and without this.
        own.tokenizer_name_or_path = Some(config.model.path.display().to_string());
    }
    let length = adapter.num_virtual_tokens;
    let (adapter, mut warnings) = adapter.with_heads(base.task.base());
    let (prompt, more) = PromptLearning::new(adapter, base.task.base(), config.training.seed)?;
    warnings.extend(more);
    if let Some(text) = &config.adapter.prompt_learning.prefix_tuning_init_text {
        let refuse = |reason: &str| {
            let reason = reason.to_owned();
            PeftError::Setting { key: "prefix_tuning_init_text", reason }
        };
        if config.adapter.prompt_learning.init_weights.is_some() {
            return Err(
                refuse("does not go together with init_weights, which starts the prefix at zero; remove one").into()
            );
        }
        let ids = tokens(base, text)?;
        if ids.is_empty() {
            return Err(refuse("the text has no tokens to start from").into());
        }
        let ids: Vec<u32> = ids.into_iter().cycle().take(length).collect();
        let blocks = base.task.keys_and_values(&ids)?;
        let blocks = blocks.ok_or_else(|| refuse("only a causal language model reads a text first"))?;
        prompt.start_from_keys_and_values(&blocks)?;
    }
    Ok((Arc::new(prompt), warnings))
}

/// Says what is trained of an adapter whose encoder is not there.
pub(super) fn without_encoder(adapter: &PromptLearningConfig, method: &dyn Method) -> Option<String> {
    let has_encoder = match &adapter.method {
        PromptMethod::PromptTuning(_) => false,
        PromptMethod::PrefixTuning(own) => own.prefix_projection,
        PromptMethod::PTuning(_) => true,
    };
    let lost = has_encoder && method.encoder_state().is_empty();
    lost.then(|| {
        "the encoder of this adapter was not saved, as PEFT does: what it computed is trained as it is".to_owned()
    })
}

fn tokens(base: &BaseModel, text: &str) -> Result<Vec<u32>, Error> {
    let tokenizer = base.tokenizer()?.ok_or_else(|| DataError::NoTokenizer { dir: base.dir.clone() })?;
    Ok(tokenizer.encode(text, true)?)
}
