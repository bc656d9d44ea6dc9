//! `trainer_state.json`, with the keys that plotting scripts for Hugging Face's Trainer read.

use serde::{Deserialize, Serialize};

use super::log::Entry;

/// The file, beside the adapter and in every checkpoint.
pub const TRAINER_STATE: &str = "trainer_state.json";

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Lowest evaluation loss so far.
    pub best_metric: Option<f32>,
    /// The step that had it.
    pub best_global_step: Option<u64>,
    /// Not kept: the newest checkpoints are.
    pub best_model_checkpoint: Option<String>,
    /// Passes over the data done.
    pub epoch: f64,
    /// As configured.
    pub eval_steps: u64,
    /// Optimizer steps done.
    pub global_step: u64,
    /// Always false.
    pub is_hyper_param_search: bool,
    /// Always true.
    pub is_local_process_zero: bool,
    /// Always true.
    pub is_world_process_zero: bool,
    /// Every logged step and evaluation.
    pub log_history: Vec<Entry>,
    /// As configured.
    pub logging_steps: u64,
    /// Optimizer steps of the whole run.
    pub max_steps: u64,
    /// Tokens of all steps done.
    pub num_input_tokens_seen: u64,
    /// Passes over the data of the whole run, begun ones counted.
    pub num_train_epochs: u64,
    /// As configured.
    pub save_steps: u64,
    /// Seed of the run: with it and `global_step`, order and random numbers are determined.
    pub seed: u64,
    /// Sequences of a micro-batch.
    pub train_batch_size: usize,
}

impl TrainerState {
    /// Whether no step is left.
    pub fn is_finished(&self) -> bool {
        self.global_step >= self.max_steps
    }
}
