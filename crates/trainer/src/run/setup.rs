//! What a run needs before its first step: the base, the rows and the limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data::{Dataset, Split, Task, Tokenizer};
use device::Device;
use device::launch::Executor;

use super::base_model::{BaseModel, RowSettings};
use super::identity::Identity;
use super::method;
use super::purpose::{self, Purpose};
use super::rows::Rows;
use super::token_cache::{self, Access};
use crate::Error;
use crate::config::Config;
use crate::console::Console;

/// Lets `device` take no more memory than the config gives it.
///
/// # Errors
/// A device that is not here.
pub fn limit_memory(config: &Config, device: Device) -> Result<(), Error> {
    if let (Some(bytes), false) = (config.training.device_memory_bytes(), device == Device::Cpu) {
        Executor::for_device(device)?.limit_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// What is loaded before it is known where the run begins.
pub struct Setup {
    /// The base, no weight of which is read yet.
    pub base: BaseModel,
    /// Its tokenizer, if it has one.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The rows to train on, and which of them make up which step.
    pub rows: Rows,
    /// The rows to evaluate on.
    pub eval: Option<Dataset>,
    /// Steps of the run.
    pub max_steps: u64,
}

impl Setup {
    /// What `config` names, for a run that began at `started_at` in seconds since 1970.
    ///
    /// # Errors
    /// Files that cannot be read or do not fit each other, [`Error::WarmupTooLong`] and [`Error::PaddingFollowed`].
    pub fn load(config: &Config, started_at: i64, access: Access, console: Console) -> Result<Self, Error> {
        let purpose = Purpose::of_config(config)?;
        let base = BaseModel::open(&config.model.path, config.model.dtype.dtype(), purpose)?;
        let tokenizer = base.tokenizer()?.map(Arc::new);
        let template = base.chat_template(config.data.chat_template.as_deref(), tokenizer.as_deref(), started_at)?;
        let template = template.map(Arc::new);
        let settings = RowSettings {
            max_length: config.data.max_length,
            completion_only_loss: config.data.completion_only_loss,
            num_virtual_tokens: method::num_virtual_tokens(config, base.task.base())?,
            adapters: &[],
            cache: None,
        };
        let cache_of = |path: &Path| {
            let cache = token_cache::of_file(path, config, access);
            if let (Some(cache), Access::Write) = (&cache, access) {
                let (path, dir) = (path.display(), cache.dir().display());
                let all_first = if config.data.packing { ", all of them before they are packed" } else { "" };
                console.line(format_args!("reading {path}, whose tokens are kept in {dir}{all_first}"));
            }
            cache
        };
        if config.data.pad_to_multiple_of.is_some() && base.task.base().dimensions().rotations_follow_length {
            return Err(Error::PaddingFollowed);
        }
        let task = base.purpose.task;
        let train = purpose::rows_of(task, Split::Train, &config.data.train)?;
        let cache = cache_of(&train);
        let of_train = RowSettings { cache: cache.as_ref(), ..settings };
        let all_first = access == Access::Read || config.data.packing;
        let feed = base.feed(&train, tokenizer.as_ref(), template.as_ref(), of_train, all_first)?;
        let rows = Rows::new(feed, config)?;
        let eval = match &config.data.eval {
            Some(path) => Some(purpose::rows_of(task, Split::Valid, path)?),
            None if task == Task::ImageClassification => Split::Valid.own_images(&config.data.train),
            None if config.data.train.is_dir() => Split::Valid.file(&config.data.train).ok(),
            None => None,
        };
        let rows_of = |path: PathBuf| {
            let cache = cache_of(&path);
            let settings = RowSettings { cache: cache.as_ref(), ..settings };
            base.rows(&path, tokenizer.as_deref(), template.as_deref(), settings)
        };
        let eval = eval.map(rows_of).transpose()?;
        let max_steps = rows.max_steps(config);
        let warmup_steps = config.training.warmup_steps;
        if warmup_steps > max_steps {
            return Err(Error::WarmupTooLong { warmup_steps, max_steps });
        }
        Ok(Self { base, tokenizer, rows, eval, max_steps })
    }

    /// What a run that goes on from this one must have in common with it.
    ///
    /// # Errors
    /// The model's `config.json` cannot be read.
    pub fn identity(&self, config: &Config) -> Result<Identity, Error> {
        Ok(Identity::new(config, self.max_steps, self.base.fingerprint()?, self.rows.feed.fingerprint().to_owned()))
    }
}
