//! Loss and accuracy over all rows of a file.

use data::{Batch, Dataset};

use super::adapters::Adapters;
use super::task::{Logits, Task};
use crate::Error;

/// Sums over the supervised tokens of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Sum of the losses.
    pub loss_sum: f64,
    /// Supervised tokens.
    pub tokens: u64,
    /// Those whose label was the most likely token.
    pub correct: u64,
}

impl Evaluation {
    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.tokens.max(1) as f64
    }

    /// `exp(loss)`.
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// The share of tokens that were predicted.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.tokens.max(1) as f64
    }
}

/// Evaluates the model of `task` with what rows choose of `adapters` on `dataset`, `batch_size` rows at a time in the order of
/// the file.
///
/// # Errors
/// Those of the model.
pub fn evaluate(
    task: &dyn Task,
    adapters: &Adapters,
    dataset: &Dataset,
    batch_size: usize,
) -> Result<Evaluation, Error> {
    let mut sums = Evaluation::default();
    for rows in batches(dataset, batch_size) {
        for (pass, rows) in adapters.groups(dataset, &rows) {
            let sum = task.evaluate(&Batch::gather(dataset, &rows)?, &pass)?;
            sums.loss_sum += sum.loss;
            sums.tokens += sum.num_supervised as u64;
            sums.correct += sum.num_correct as u64;
        }
    }
    Ok(sums)
}

/// The logits of the rows `rows` of `dataset`, in their order.
///
/// # Errors
/// Those of the model.
pub fn logits(task: &dyn Task, adapters: &Adapters, dataset: &Dataset, rows: &[usize]) -> Result<Logits, Error> {
    let mut parts = Vec::new();
    for (pass, group) in adapters.groups(dataset, rows) {
        let places = group.iter().map(|row| rows.iter().position(|other| other == row).unwrap_or(0)).collect();
        parts.push((task.logits(&Batch::gather(dataset, &group)?, &pass)?, places));
    }
    Ok(Logits::joined(parts))
}

/// The rows of `dataset` in order, `batch_size` at a time.
pub fn batches(dataset: &Dataset, batch_size: usize) -> impl Iterator<Item = Vec<usize>> {
    let size = batch_size.max(1);
    (0..dataset.len()).step_by(size).map(move |start| (start..dataset.len().min(start + size)).collect())
}
