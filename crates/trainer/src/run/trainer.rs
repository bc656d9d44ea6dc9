//! The training loop.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use checkpoint::Fs;
use data::Dataset;
use device::Device;
use device::launch::Executor;
use model::Pass;
use peft::Method;
use tensor::Gradients;

use super::adapters::Adapters;
use super::checkpoints;
use super::evaluate::evaluate;
use super::journal::{Journal, Measured, StepResult};
use super::learner::{Learner, Losses};
use super::optimizer::Optimizer;
use super::record::RunRecord;
use super::rows::Rows;
use super::save::{Snapshot, may_be_retried};
use super::task::Task;
use crate::Error;
use crate::config::Training;
use crate::schedule::Schedule;
use crate::signals::{Signal, Signals};

/// What a run trains, on what, and how.
pub struct Trainer<'a> {
    /// The frozen base and what it is to learn.
    pub task: &'a dyn Task,
    /// What is trained.
    pub method: Arc<dyn Method>,
    /// The rows to train on.
    pub rows: &'a Rows,
    /// The rows to evaluate on.
    pub eval: Option<&'a Dataset>,
    /// The settings.
    pub training: &'a Training,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// What the run is.
    pub record: RunRecord,
    /// Where checkpoints go.
    pub output_dir: &'a Path,
    /// How they are written.
    pub fs: &'a dyn Fs,
    /// When to stop.
    pub signals: &'a Signals,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Finished,
    /// A signal came; a checkpoint holds the step that was running.
    Stopped(Signal),
}

impl Trainer<'_> {
    /// Takes every step that `optimizer` has not taken yet.
    ///
    /// # Errors
    /// [`Error::Diverged`] for the first loss or gradient that is no number, with which nothing is updated: at once on the CPU, on
    /// a device when its step or one after it is logged, saved or evaluated; those of the model.
    pub fn train(&self, optimizer: &mut Optimizer, journal: &mut Journal) -> Result<Ended, Error> {
        let learner = Learner { task: self.task, method: &self.method, training: self.training };
        let mut gradients = Gradients::new(self.method.parameters().tensors())?;
        let executor = self.executor()?;
        let first = optimizer.steps() + 1;
        for step in first..=self.schedule.max_steps {
            let batches = self.rows.micro_batches(step).or_else(|error| self.first_error(error))?;
            let learning_rate = self.schedule.at(step);
            let losses = learner.step(optimizer, &batches, learning_rate, &mut gradients)?;
            if self.method.reads_gradients() {
                let grad_scale = optimizer.outcome()?.grad_scale(optimizer.max_norm());
                self.method.after_step(step, &gradients, grad_scale)?;
            }
            device::pool::advance();
            executor.iter().for_each(Executor::advance);
            let signal = self.signals.received();
            let is_looked_at = step == first || signal.is_some() || self.is_looked_at(step, journal);
            let measured = match executor.is_none() || is_looked_at {
                true => Some(self.measure(step, optimizer, &losses)?),
                false => None,
            };
            let tokens = batches.iter().map(|batch| batch.num_tokens() as u64).sum();
            let epoch = self.rows.epochs_after(step);
            journal.step(StepResult { step, measured, learning_rate, tokens, epoch });

            let is_last = step == self.schedule.max_steps;
            if is_last || is_due(step, self.training.eval_steps) {
                self.evaluate(journal)?;
            }
            if is_due(step, self.training.save_steps) || (is_last && self.training.save_steps > 0) {
                self.save_or_warn(optimizer, journal)?;
            }
            if let Some(signal) = signal.filter(|_| !is_last) {
                self.save(optimizer, journal)?;
                return Ok(Ended::Stopped(signal));
            }
        }
        Ok(Ended::Finished)
    }

    /// The error to end with where rows could not be gathered: of several bad ones the first of the file is told, for which rows are
    /// waited for, unless somebody cannot wait. Nothing is left to be saved then, so that a signal may end the process.
    fn first_error<T>(&self, error: Error) -> Result<T, Error> {
        self.signals.end_at_once();
        Err(match (error, self.signals.received()) {
            (Error::Data(error), None) => self.rows.feed.first_error(error).into(),
            (error, _) => error,
        })
    }

    /// The device that is to be waited for, if it is not the CPU.
    fn executor(&self) -> Result<Option<Executor>, Error> {
        match self.method.parameters().device() {
            Device::Cpu => Ok(None),
            device => Ok(Some(Executor::for_device(device)?)),
        }
    }

    /// Whether somebody wants to know what came of `step`: who reads the log, or a checkpoint or an evaluation after it.
    fn is_looked_at(&self, step: u64, journal: &Journal) -> bool {
        let Training { save_steps, eval_steps, .. } = *self.training;
        let due = journal.logs(step) || is_due(step, save_steps) || is_due(step, eval_steps);
        due || step == self.schedule.max_steps
    }

    /// What came of `step`, for which a device is waited for. Fails at the first value that was no number since that was last
    /// asked; nothing was updated with it. Weights that are none themselves are the first suspect.
    fn measure(&self, step: u64, optimizer: &Optimizer, losses: &Losses) -> Result<Measured, Error> {
        let outcome = optimizer.outcome()?;
        let (loss, grad_norm) = (losses.loss(outcome.loss)?, outcome.norm as f32);
        let failed = step + 1 - outcome.failed.max(1);
        self.check_finite(failed, [("loss", loss), ("gradient norm", grad_norm)])?;
        Ok(Measured { loss, grad_norm })
    }

    fn check_finite<const N: usize>(&self, step: u64, values: [(&'static str, f32); N]) -> Result<(), Error> {
        let Some((what, value)) = values.into_iter().find(|(_, value)| !value.is_finite()) else { return Ok(()) };
        self.task.base().check_finite()?;
        let kept = checkpoints::last_good(self.output_dir);
        Err(Error::Diverged { step, what, value, kept })
    }

    fn evaluate(&self, journal: &mut Journal) -> Result<(), Error> {
        let Some(dataset) = self.eval else { return Ok(()) };
        let started = Instant::now();
        let pass = Pass::evaluation(Arc::clone(&self.method) as Arc<dyn model::Adapter>);
        let result = evaluate(self.task, &Adapters::one(pass), dataset, self.training.per_device_eval_batch_size)?;
        self.check_finite(journal.step_number(), [("evaluation loss", result.loss() as f32)])?;
        journal.evaluation(&result, started.elapsed().as_secs_f64());
        Ok(())
    }

    /// A full disk does not end a run: what was saved before is whole, and the next save may work.
    fn save_or_warn(&self, optimizer: &Optimizer, journal: &Journal) -> Result<(), Error> {
        match self.save(optimizer, journal) {
            Err(error) if may_be_retried(&error) => {
                journal.progress.warning(&format!("{error}; training goes on"));
                Ok(())
            }
            result => result,
        }
    }

    fn save(&self, optimizer: &Optimizer, journal: &Journal) -> Result<(), Error> {
        let (method, state, record) = (self.method.as_ref(), &journal.state(), &self.record);
        let snapshot = Snapshot { method, optimizer, state, record };
        snapshot.save(self.output_dir, self.training.save_total_limit, self.fs)
    }
}

fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
