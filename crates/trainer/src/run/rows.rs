//! The rows of a run and the batches of each of its steps.

use std::cmp::Reverse;
use std::sync::OnceLock;

use data::{Batch, BatchPlan, Bins, Feed, Padding, PlanOptions, first_fit};
use model::Input;

use crate::Error;
use crate::config::Config;

/// The rows to train on, and which of them make up which step.
pub struct Rows {
    /// The rows, all of them encoded or on their way.
    pub feed: Feed,
    plan: BatchPlan,
    num_sequences: usize,
    /// Lengths of all rows, the longest first, once they are known.
    longest: OnceLock<Vec<usize>>,
    padding: Option<Padding>,
}

impl Rows {
    /// Plans the steps of `config` over the rows of `feed`. Packing waits for all of them.
    ///
    /// # Errors
    /// A batch size of zero; a bad row, where it is waited for.
    pub fn new(feed: Feed, config: &Config) -> Result<Self, Error> {
        let longest = config.data.max_length;
        let padding = config.data.pad_to_multiple_of.map(|multiple| Padding { multiple, longest });
        let bins = match config.data.packing {
            true => first_fit(feed.finish()?.lengths().map(|length| padded(padding, length)), longest),
            false => Bins::singles(feed.len()),
        };
        let options = PlanOptions {
            per_device_train_batch_size: config.training.per_device_train_batch_size,
            gradient_accumulation_steps: config.training.gradient_accumulation_steps,
            shuffle: config.data.shuffle,
            seed: config.training.seed,
        };
        let num_sequences = bins.len();
        Ok(Self { plan: BatchPlan::new(bins, options)?, num_sequences, longest: OnceLock::new(), padding, feed })
    }

    /// Steps of the run that `config` describes.
    pub fn max_steps(&self, config: &Config) -> u64 {
        let epochs = config.training.num_train_epochs.unwrap_or(1.0);
        config.training.max_steps.unwrap_or_else(|| self.plan.steps_for_epochs(epochs).max(1))
    }

    /// The micro-batches of step `step`, counted from 1: a function of its number alone.
    ///
    /// # Errors
    /// An image that cannot be read any more, or whose pixels are broken; a bad row that was found meanwhile.
    pub fn micro_batches(&self, step: u64) -> Result<Vec<Batch>, Error> {
        let step = self.plan.step(step.saturating_sub(1));
        step.micro_batches.iter().map(|rows| self.gather(rows)).collect()
    }

    fn gather(&self, rows: &[usize]) -> Result<Batch, Error> {
        let batch = self.feed.gather(rows)?;
        Ok(match self.padding {
            Some(padding) => batch.padded(padding),
            None => batch,
        })
    }

    /// The micro-batch that takes most: the longest rows, or those of the first step, whose bins are about full. While rows are on
    /// their way, those with the longest lines.
    ///
    /// # Errors
    /// As [`Rows::micro_batches`].
    pub fn largest_batch(&self, config: &Config) -> Result<Batch, Error> {
        if config.data.packing {
            let batches = self.micro_batches(1)?;
            let largest = batches.into_iter().max_by_key(|batch| batch.num_tokens() + batch.num_padding);
            return largest.map_or_else(|| self.gather(&[]), Ok);
        }
        self.gather(&self.feed.longest(config.training.per_device_train_batch_size)?)
    }

    /// Passes over the rows once `steps` steps are done.
    pub fn epochs_after(&self, steps: u64) -> f64 {
        self.plan.epochs_after(steps)
    }

    /// Sequences there are, or bins of packed ones.
    pub fn num_sequences(&self) -> usize {
        self.num_sequences
    }

    /// Bytes of memory of the plan, with the lengths of all rows.
    pub fn plan_bytes(&self) -> u64 {
        (self.plan.bytes_in_memory() + self.feed.len() * size_of::<usize>()) as u64
    }

    /// Rows in `sequences` sequences: as many, or what so many bins hold on average.
    pub fn rows_within(&self, sequences: usize, config: &Config) -> usize {
        if config.data.packing {
            return (sequences * self.feed.len()).div_ceil(self.num_sequences.max(1));
        }
        sequences.min(self.feed.len())
    }

    /// Tokens of the largest micro-batch of `sequences` sequences that can be drawn: the longest rows, or full bins. While rows are
    /// on their way, each may be as long as the config allows.
    ///
    /// # Errors
    /// A bad row that was found meanwhile.
    pub fn largest_micro_batch(&self, sequences: usize, config: &Config) -> Result<usize, Error> {
        let full = sequences.saturating_mul(config.data.max_length);
        let Some(dataset) = self.feed.dataset()? else { return Ok(full) };
        if config.data.packing {
            let tokens = usize::try_from(dataset.statistics().tokens).unwrap_or(usize::MAX);
            // Padding may fill the bins of a few rows.
            return Ok(if self.padding.is_some() { full } else { full.min(tokens) });
        }
        let longest = self.longest.get_or_init(|| {
            let mut longest: Vec<usize> = dataset.lengths().map(|length| padded(self.padding, length)).collect();
            longest.sort_unstable_by_key(|&length| Reverse(length));
            longest
        });
        Ok(longest.iter().take(sequences).sum())
    }
}

/// Tokens of a sequence of `length` in a batch.
fn padded(padding: Option<Padding>, length: usize) -> usize {
    padding.map_or(length, |padding| padding.length(length))
}

/// `batch` as the model takes it.
///
/// # Errors
/// None for a batch that was gathered.
pub fn input(batch: &Batch) -> Result<Input, Error> {
    let input = Input::packed(&batch.input_ids, &batch.positions, &batch.cu_seqlens)?;
    match batch.token_type_ids.as_slice() {
        [] => Ok(input),
        parts => Ok(input.with_token_type_ids(parts)?),
    }
}
