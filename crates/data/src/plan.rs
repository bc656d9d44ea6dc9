//! Which rows make up which optimizer step.

use crate::{Bins, DataError, Permutation};

/// How batches are made, in the words of transformers' `TrainingArguments`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Examples, or bins of packed examples, of a micro-batch.
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Whether every epoch has an order of its own; otherwise that of the file.
    pub shuffle: bool,
    /// What the orders are drawn from.
    pub seed: u64,
}

/// Assigns examples to optimizer steps, as transformers' `Trainer` does: an epoch is `ceil(bins / batch_size)`
/// micro-batches, the last one may be smaller, and the accumulation of gradients ends with the epoch, so that the last step
/// of an epoch may have fewer micro-batches.
///
/// [`step`](Self::step) is a pure function of the step's number: a run is resumed at any step without looking at those
/// before it. Rows are packed once and the bins are shuffled in each epoch, so that all epochs have as many steps.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    bins: Bins,
    options: PlanOptions,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The examples of each micro-batch, by their index in the dataset.
    pub micro_batches: Vec<Vec<usize>>,
}

impl BatchPlan {
    /// A plan over `bins`: [`Bins::singles`], or [`first_fit`](crate::first_fit) for packing.
    ///
    /// # Errors
    /// [`DataError::Setting`] if there are no bins, or if a size is zero.
    pub fn new(bins: Bins, options: PlanOptions) -> Result<Self, DataError> {
        let sizes = [
            ("the number of rows", bins.len()),
            ("training.per_device_train_batch_size", options.per_device_train_batch_size),
            ("training.gradient_accumulation_steps", options.gradient_accumulation_steps),
        ];
        for (setting, size) in sizes {
            if size == 0 {
                return Err(DataError::Setting { setting, got: "0".to_owned(), expected: "at least 1" });
            }
        }
        Ok(Self { bins, options })
    }

    /// Micro-batches of an epoch.
    pub fn micro_batches_per_epoch(&self) -> usize {
        self.bins.len().div_ceil(self.options.per_device_train_batch_size)
    }

    /// Bytes of memory that it takes.
    pub fn bytes_in_memory(&self) -> usize {
        self.bins.bytes_in_memory()
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.micro_batches_per_epoch().div_ceil(self.options.gradient_accumulation_steps)
    }

    /// Optimizer steps of `num_train_epochs`, which need not be whole: `ceil(num_train_epochs * steps_per_epoch)`.
    pub fn steps_for_epochs(&self, num_train_epochs: f64) -> u64 {
        (num_train_epochs * self.steps_per_epoch() as f64).ceil() as u64
    }

    /// Step `index`, from 0.
    pub fn step(&self, index: u64) -> Step {
        let (epoch, within) = self.place(index);
        let order = if self.options.shuffle {
            Permutation::shuffled(self.bins.len(), self.options.seed, epoch)
        } else {
            Permutation::identity(self.bins.len())
        };
        let size = self.options.per_device_train_batch_size;
        let micro_batch = |batch: usize| {
            let places = batch * size..self.bins.len().min((batch + 1) * size);
            places.flat_map(|place| self.bins.get(order.get(place)).iter().copied()).collect()
        };
        Step { epoch, micro_batches: self.micro_batches(within).map(micro_batch).collect() }
    }

    /// The epochs done once `steps` optimizer steps are, as transformers logs them: whole micro-batches over those of an
    /// epoch.
    pub fn epochs_after(&self, steps: u64) -> f64 {
        let Some(last) = steps.checked_sub(1) else { return 0.0 };
        let (epoch, within) = self.place(last);
        epoch as f64 + self.micro_batches(within).end as f64 / self.micro_batches_per_epoch() as f64
    }

    /// The epoch of a step, and which of its steps it is.
    fn place(&self, step: u64) -> (u64, usize) {
        let steps = self.steps_per_epoch() as u64;
        (step / steps, (step % steps) as usize)
    }

    /// The micro-batches of a step, as numbers within the epoch.
    fn micro_batches(&self, step_of_epoch: usize) -> std::ops::Range<usize> {
        let window = self.options.gradient_accumulation_steps;
        // A window may be longer than any epoch, so its end is not multiplied out.
        let start = step_of_epoch * window;
        start..start.saturating_add(window).min(self.micro_batches_per_epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::first_fit;
    use proptest::prelude::*;

    fn plan(rows: usize, batch: usize, accumulation: usize, shuffle: bool) -> BatchPlan {
        let options = PlanOptions {
            per_device_train_batch_size: batch,
            gradient_accumulation_steps: accumulation,
            shuffle,
            seed: 42,
        };
        BatchPlan::new(Bins::singles(rows), options).unwrap()
    }

    #[test]
    fn an_epoch_ends_with_what_is_left() {
        let plan = plan(7, 2, 3, false);
        assert_eq!((plan.micro_batches_per_epoch(), plan.steps_per_epoch()), (4, 2));
        assert_eq!(plan.step(0).micro_batches, [vec![0, 1], vec![2, 3], vec![4, 5]]);
        assert_eq!(plan.step(1).micro_batches, [vec![6]]);
        assert_eq!(plan.step(2), Step { epoch: 1, ..plan.step(0) });
        assert_eq!([0, 1, 2, 3].map(|n| plan.epochs_after(n)), [0.0, 0.75, 1.0, 1.75]);
        assert_eq!((plan.steps_for_epochs(3.0), plan.steps_for_epochs(0.6)), (6, 2));
    }

    #[test]
    fn a_batch_larger_than_the_rows_is_all_of_them() {
        let plan = plan(3, 100, usize::MAX, false);
        assert_eq!(plan.step(5), Step { epoch: 5, micro_batches: vec![vec![0, 1, 2]] });
    }

    #[test]
    fn epochs_have_orders_of_their_own() {
        let plan = plan(50, 50, 1, true);
        let [first, second] = [0, 1].map(|step| plan.step(step).micro_batches.concat());
        assert_ne!(first, second);
        assert_ne!(first, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn sizes_of_zero_are_refused() {
        let options =
            PlanOptions { per_device_train_batch_size: 0, gradient_accumulation_steps: 1, shuffle: true, seed: 0 };
        let error = BatchPlan::new(Bins::singles(1), options).unwrap_err().to_string();
        assert!(error.contains("per_device_train_batch_size is 0"), "{error}");
        assert!(BatchPlan::new(Bins::singles(0), PlanOptions { per_device_train_batch_size: 1, ..options }).is_err());
    }

    proptest! {
        #[test]
        fn an_epoch_has_every_row_once(
            lengths in prop::collection::vec(1usize..20, 1..100),
            batch in 1usize..9,
            accumulation in 1usize..5,
            packing: bool,
            seed: u64,
            epoch in 0u64..1000,
        ) {
            let bins = if packing { first_fit(lengths.iter().copied(), 20) } else { Bins::singles(lengths.len()) };
            let options = PlanOptions {
                per_device_train_batch_size: batch,
                gradient_accumulation_steps: accumulation,
                shuffle: true,
                seed,
            };
            let plan = BatchPlan::new(bins, options).unwrap();
            let steps = plan.steps_per_epoch() as u64;
            let mut rows = Vec::new();
            let mut micro_batches = 0;
            for index in epoch * steps..(epoch + 1) * steps {
                let step = plan.step(index);
                prop_assert_eq!(step.epoch, epoch);
                prop_assert!(!step.micro_batches.is_empty() && step.micro_batches.len() <= accumulation);
                micro_batches += step.micro_batches.len();
                rows.extend(step.micro_batches.concat());
            }
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            prop_assert_eq!(micro_batches, plan.micro_batches_per_epoch());
            prop_assert_eq!(plan.epochs_after((epoch + 1) * steps), (epoch + 1) as f64);
        }
    }
}
