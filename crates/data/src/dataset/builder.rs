//! Examples to a dataset, one after the other.

use std::path::Path;

use super::Dataset;
use super::columns::GrowingColumns;
use crate::encode::{Encoded, Encoder};
use crate::example::num_targets;
use crate::{DataError, DataOptions, Statistics, Task};

/// Puts examples one after the other, and counts what became of the rows.
pub(super) struct Builder<'a> {
    options: &'a DataOptions,
    stop_token_ids: &'a [u32],
    pub(super) columns: GrowingColumns,
    pub(super) statistics: Statistics,
}

impl<'a> Builder<'a> {
    pub(super) fn new(encoder: &Encoder<'a>, columns: GrowingColumns) -> Self {
        let stop_token_ids = encoder.tokenizer.map_or(&[][..], |t| &t.special_tokens().stop_token_ids);
        Self { options: encoder.options, stop_token_ids, columns, statistics: Statistics::default() }
    }

    pub(super) fn push(&mut self, line: usize, examples: Vec<Encoded>) {
        self.statistics.rows += 1;
        self.statistics.split += usize::from(examples.len() > 1);
        for encoded in examples {
            if encoded.example.input_ids.is_empty() {
                self.statistics.empty += 1;
            } else {
                self.push_example(line, &encoded);
            }
        }
    }

    pub(super) fn push_example(&mut self, line: usize, Encoded { example, truncated, merged }: &Encoded) {
        let (task, statistics) = (self.options.task, &mut self.statistics);
        let targets = num_targets(task, &example.labels);
        let stops = |label: &i64| self.stop_token_ids.iter().any(|&stop| i64::from(stop) == *label);
        statistics.examples += 1;
        let decoded = if task == Task::Seq2SeqLm { example.labels.len() } else { 0 };
        statistics.tokens += (example.input_ids.len() + decoded) as u64;
        statistics.targets += targets as u64;
        statistics.longest = statistics.longest.max(example.input_ids.len().max(decoded));
        statistics.truncated += usize::from(*truncated);
        statistics.without_targets += usize::from(targets == 0);
        statistics.merged += usize::from(*merged);
        if matches!(task, Task::CausalLm | Task::Seq2SeqLm) {
            statistics.stopping += usize::from(example.labels.iter().any(stops));
        }
        self.columns.push(line, example);
    }

    /// Checks that there is something to train on in what came from the file `path`.
    ///
    /// # Errors
    /// [`DataError::NoRows`], [`DataError::NothingSupervised`].
    pub(super) fn check(&self, path: &Path) -> Result<(), DataError> {
        if self.columns.len() == 0 {
            return Err(DataError::NoRows { path: path.to_owned() });
        }
        if self.statistics.targets == 0 && self.options.task != Task::FeatureExtraction {
            return Err(DataError::NothingSupervised {
                path: path.to_owned(),
                rows: self.statistics.rows,
                truncated: self.statistics.truncated,
                max_length: self.options.max_length,
            });
        }
        Ok(())
    }

    /// The examples, where they are in memory.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub(super) fn finish(self, path: &Path) -> Result<Dataset, DataError> {
        self.check(path)?;
        let columns = self.columns.into_columns();
        Ok(Dataset::new(self.options.task, columns, self.statistics))
    }
}
