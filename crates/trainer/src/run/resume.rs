//! Where a run begins: at step 1, after a checkpoint, or not at all because it is finished.

use std::path::{Path, PathBuf};

use checkpoint::{Fs, Manifest, read_json};

use super::OutputError;
use super::checkpoints::{self, Found};
use super::identity::Identity;
use super::record::{RunRecord, read_written};
use super::trainer_state::{TRAINER_STATE, TrainerState};
use crate::Error;
use crate::config::Resume;

/// The largest `trainer_state.json` that is read.
const LIMIT: u64 = 1 << 30;

/// A checkpoint to go on from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where.
    pub path: PathBuf,
    /// What its run is.
    pub record: RunRecord,
}

/// What there is to go on from in `output_dir` under `resume`. `note` is told of checkpoints that are skipped.
///
/// # Errors
/// A checkpoint that was named and is not whole.
pub fn find(output_dir: &Path, resume: &Resume, mut note: impl FnMut(String)) -> Result<Option<Origin>, Error> {
    let (path, manifest) = match resume {
        Resume::Never => return Ok(None),
        // Whoever names a checkpoint wants that one: another in its place would be a surprise.
        Resume::From(path) => (path.clone(), Manifest::verify(path)?),
        Resume::Auto => {
            let skipped = |error: &checkpoint::CheckpointError| note(format!("{error}; it is skipped"));
            match checkpoints::newest_whole(output_dir, skipped)? {
                Some((Found { path, .. }, manifest)) => (path, manifest),
                None => return Ok(None),
            }
        }
    };
    let record = RunRecord::of(&path, &manifest)?;
    Ok(Some(Origin { path, record }))
}

/// The state of the finished run in `output_dir`, if there is one.
///
/// # Errors
/// It cannot be read.
pub fn finished(output_dir: &Path) -> Result<Option<(RunRecord, TrainerState)>, Error> {
    let path = output_dir.join(TRAINER_STATE);
    let (Some(record), true) = (RunRecord::read(output_dir)?, path.exists()) else { return Ok(None) };
    let state: TrainerState = read_written(&path, LIMIT)?;
    Ok(state.is_finished().then_some((record, state)))
}

/// Refuses to go on from a run that computed something else.
///
/// # Errors
/// [`OutputError::OtherRun`] with every difference.
pub fn check_same(place: &Path, then: &Identity, now: &Identity) -> Result<(), OutputError> {
    let differences = then.differences(now);
    match differences.is_empty() {
        true => Ok(()),
        false => Err(OutputError::OtherRun { checkpoint: place.to_owned(), differences }),
    }
}

/// The trainer state of a checkpoint.
///
/// # Errors
/// It cannot be read.
pub fn trainer_state(path: &Path) -> Result<TrainerState, Error> {
    Ok(read_json(&path.join(TRAINER_STATE), LIMIT)?)
}

/// Removes the checkpoints and the result of an earlier run that is not gone on from.
///
/// # Errors
/// The system's.
pub fn start_over(output_dir: &Path, fs: &dyn Fs) -> Result<(), Error> {
    for found in checkpoints::find(output_dir)? {
        checkpoints::remove(&found, fs).map_err(Error::Save)?;
    }
    let state = output_dir.join(TRAINER_STATE);
    if state.exists() {
        let failed = |source| checkpoint::CheckpointError::Io { action: "remove", path: state.clone(), source };
        fs.remove_file(&state).map_err(failed).map_err(Error::Save)?;
    }
    Ok(())
}
