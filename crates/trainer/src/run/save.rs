//! What is written of a run: checkpoints on the way, and the result at the end.

use std::path::Path;

use checkpoint::{CheckpointError, Fs, StagedDirectory, atomic_write};
use peft::{Method, PeftError};

use super::checkpoints;
use super::optimizer::Optimizer;
use super::record::RunRecord;
use super::trainer_state::{TRAINER_STATE, TrainerState};
use super::training_state;
use crate::Error;

/// Everything that a checkpoint is made of.
pub struct Snapshot<'a> {
    /// The method with its trainable values.
    pub method: &'a dyn Method,
    /// Its moments.
    pub optimizer: &'a Optimizer,
    /// How far the run is.
    pub state: &'a TrainerState,
    /// What the run is.
    pub record: &'a RunRecord,
}

impl Snapshot<'_> {
    /// Writes `checkpoint-N` into `output_dir`, whole or not at all, and removes the oldest until `limit` are left.
    ///
    /// # Errors
    /// [`Error::Save`], or [`Error::Diverged`] where a trained value is no number; then the checkpoints that were there are
    /// untouched.
    pub fn save(&self, output_dir: &Path, limit: usize, fs: &dyn Fs) -> Result<(), Error> {
        let step = self.state.global_step;
        let mut staged = StagedDirectory::create(fs, &checkpoints::path_of(output_dir, step)).map_err(Error::Save)?;
        peft::stage(self.method, &mut staged).map_err(|error| of_save(error, self.method, step, output_dir))?;
        training_state::write(&mut staged, self.method, self.optimizer)?;
        staged.write(TRAINER_STATE, &json(self.state)).map_err(Error::Save)?;
        staged.commit(RunRecord { step, ..self.record.clone() }.to_state()).map_err(Error::Save)?;
        checkpoints::prune(output_dir, limit, step, fs).map_err(Error::Save)
    }
}

/// Writes the result of a finished run into `output_dir`: what `method` trained, the `documents` beside it, and last
/// `trainer_state.json`, which says that the run is finished.
///
/// # Errors
/// [`Error::Save`], [`Error::Diverged`] as [`Snapshot::save`]. Every file is either the old or the new one.
pub fn save_result(
    method: &dyn Method,
    state: &TrainerState,
    documents: &[(&str, String)],
    output_dir: &Path,
    fs: &dyn Fs,
) -> Result<(), Error> {
    peft::save(method, fs, output_dir).map_err(|error| of_save(error, method, state.global_step, output_dir))?;
    for (name, text) in documents {
        atomic_write(fs, &output_dir.join(name), text.as_bytes()).map_err(Error::Save)?;
    }
    atomic_write(fs, &output_dir.join(TRAINER_STATE), &json(state)).map_err(Error::Save)
}

fn json(state: &TrainerState) -> Vec<u8> {
    // Keys are strings and every float is finite, so there is always a JSON form.
    serde_json::to_vec_pretty(state).unwrap_or_default()
}

/// A failure to write is told apart from a value that must not be written: no file holds it, the update made it.
fn of_save(error: PeftError, method: &dyn Method, step: u64, output_dir: &Path) -> Error {
    match error {
        PeftError::Checkpoint(error) => Error::Save(error),
        PeftError::NonFinite { .. } => {
            let is_broken = |value: &f32| !value.is_finite();
            let value = method.parameters().tensors().find_map(|tensor| tensor.to_vec().into_iter().find(is_broken));
            let kept = checkpoints::last_good(output_dir);
            Error::Diverged { step, what: "updated parameter", value: value.unwrap_or(f32::NAN), kept }
        }
        other => other.into(),
    }
}

/// Whether a failed save leaves the run able to go on and to try again.
pub(super) fn may_be_retried(error: &Error) -> bool {
    matches!(error, Error::Save(CheckpointError::Io { .. }))
}
