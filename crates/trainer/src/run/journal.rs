//! What a run tells while it goes on: to the log, to the terminal, and in `trainer_state.json`.

use std::time::Instant;

use super::evaluate::Evaluation;
use super::log::{Entry, EvaluationEntry, Log, StepEntry};
use super::progress::Progress;
use super::trainer_state::TrainerState;
use crate::config::Config;

/// One optimizer step as the loop knows it.
#[derive(Clone, Copy, Debug)]
pub struct StepResult {
    /// From 1.
    pub step: u64,
    /// What came of it; `None` if nobody has waited for that.
    pub measured: Option<Measured>,
    /// Of this step.
    pub learning_rate: f64,
    /// Tokens of this step.
    pub tokens: u64,
    /// Passes over the rows when it was done.
    pub epoch: f64,
}

/// What came of a step.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Mean over the supervised tokens, before the update.
    pub loss: f32,
    /// Before clipping.
    pub grad_norm: f32,
}

/// Keeps the books of a run.
pub struct Journal {
    log: Log,
    /// The terminal.
    pub progress: Progress,
    state: TrainerState,
    logging_steps: u64,
    last_logged: Instant,
    tokens_since: u64,
}

impl Journal {
    /// Goes on from `state`, whose entries `log` has.
    pub fn new(log: Log, progress: Progress, state: TrainerState) -> Self {
        let logging_steps = state.logging_steps;
        Self { log, progress, state, logging_steps, last_logged: Instant::now(), tokens_since: 0 }
    }

    /// Whether `step` is one of those that are logged.
    pub fn logs(&self, step: u64) -> bool {
        step.is_multiple_of(self.logging_steps)
    }

    /// A step is done. One that is logged has to be measured.
    pub fn step(&mut self, result: StepResult) {
        let StepResult { step, measured, learning_rate, tokens, epoch } = result;
        self.tokens_since += tokens;
        let seconds = self.last_logged.elapsed().as_secs_f64();
        let tokens_per_second = if seconds > 0.0 { self.tokens_since as f64 / seconds } else { 0.0 };
        self.state.global_step = step;
        self.state.epoch = epoch;
        self.state.num_input_tokens_seen += tokens;
        let Some(Measured { loss, grad_norm }) = measured else { return self.progress.advance(step, tokens) };
        let entry = StepEntry { step, epoch, loss, grad_norm, learning_rate, tokens, tokens_per_second };
        let logged = self.logs(step);
        self.progress.step(&entry, logged);
        if logged {
            self.push(Entry::Step(entry));
            self.last_logged = Instant::now();
            self.tokens_since = 0;
        }
    }

    /// An evaluation is done, which took `seconds`.
    pub fn evaluation(&mut self, result: &Evaluation, seconds: f64) {
        let eval_loss = result.loss() as f32;
        let perplexity = result.perplexity() as f32;
        let entry = EvaluationEntry {
            step: self.state.global_step,
            epoch: self.state.epoch,
            eval_loss,
            perplexity: perplexity.is_finite().then_some(perplexity),
            eval_accuracy: result.accuracy() as f32,
            eval_runtime: seconds,
        };
        self.progress.evaluation(&entry);
        if self.state.best_metric.is_none_or(|best| eval_loss < best) {
            self.state.best_metric = Some(eval_loss);
            self.state.best_global_step = Some(self.state.global_step);
        }
        self.push(Entry::Evaluation(entry));
        // The time belongs to no step.
        self.last_logged = Instant::now();
    }

    /// Steps done.
    pub fn step_number(&self) -> u64 {
        self.state.global_step
    }

    /// How far the run is, with all entries.
    pub fn state(&self) -> TrainerState {
        TrainerState { log_history: self.log.entries().to_vec(), ..self.state.clone() }
    }

    /// Every entry so far.
    pub fn entries(&self) -> &[Entry] {
        self.log.entries()
    }

    fn push(&mut self, entry: Entry) {
        if let Some(error) = self.log.push(entry) {
            self.progress.warning(&format!("{error}; training goes on, and the entries are in trainer_state.json"));
        }
    }
}

impl TrainerState {
    /// Of a run of `max_steps` steps at its beginning.
    pub fn new(config: &Config, max_steps: u64, epochs: f64) -> Self {
        Self {
            best_metric: None,
            best_global_step: None,
            best_model_checkpoint: None,
            epoch: 0.0,
            eval_steps: config.training.eval_steps,
            global_step: 0,
            is_hyper_param_search: false,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: Vec::new(),
            logging_steps: config.training.logging_steps,
            max_steps,
            num_input_tokens_seen: 0,
            num_train_epochs: epochs.ceil() as u64,
            save_steps: config.training.save_steps,
            seed: config.training.seed,
            train_batch_size: config.training.per_device_train_batch_size,
        }
    }
}
