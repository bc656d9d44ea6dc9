//! The `checkpoint-N` directories of a run: found in the order of their steps, verified, and pruned.

use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, Fs, Manifest};

const PREFIX: &str = "checkpoint-";

/// A directory named `checkpoint-N`; whether it is whole is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// N.
    pub step: u64,
    /// Where.
    pub path: PathBuf,
}

/// Where the checkpoint of `step` is or will be.
pub fn path_of(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("{PREFIX}{step}"))
}

/// Every `checkpoint-N` in `output_dir`, by N from the lowest: 9 comes before 10. Other names are not looked at.
///
/// # Errors
/// The directory cannot be read.
pub fn find(output_dir: &Path) -> Result<Vec<Found>, CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "read", path: output_dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(output_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let step = entry.file_name().to_str().and_then(step_of);
        if let Some(step) = step.filter(|_| entry.path().is_dir()) {
            found.push(Found { step, path: entry.path() });
        }
    }
    found.sort_by_key(|f| f.step);
    Ok(found)
}

/// The newest whole checkpoint and its manifest; `skipped` is told of every newer one that is not whole.
///
/// # Errors
/// The directory cannot be read.
pub fn newest_whole(
    output_dir: &Path,
    mut skipped: impl FnMut(&CheckpointError),
) -> Result<Option<(Found, Manifest)>, CheckpointError> {
    for found in find(output_dir)?.into_iter().rev() {
        match Manifest::verify(&found.path) {
            Ok(manifest) => return Ok(Some((found, manifest))),
            Err(error) => skipped(&error),
        }
    }
    Ok(None)
}

/// What `output_dir` holds of a run that went wrong, in words.
pub fn last_good(output_dir: &Path) -> String {
    match newest_whole(output_dir, |_| {}) {
        Ok(Some((found, _))) => format!("{} holds the last good state", found.path.display()),
        Ok(None) | Err(_) => "nothing was saved".to_owned(),
    }
}

/// Removes the oldest checkpoints until `limit` are left; 0 keeps all. `newest`, the step just saved and verified, is never
/// removed.
///
/// # Errors
/// One cannot be removed.
pub fn prune(output_dir: &Path, limit: usize, newest: u64, fs: &dyn Fs) -> Result<(), CheckpointError> {
    if limit == 0 {
        return Ok(());
    }
    let older: Vec<Found> = find(output_dir)?.into_iter().filter(|f| f.step != newest).collect();
    let surplus = (older.len() + 1).saturating_sub(limit);
    older[..surplus.min(older.len())].iter().try_for_each(|found| remove(found, fs))
}

/// Removes one checkpoint.
///
/// # Errors
/// The system's.
pub fn remove(found: &Found, fs: &dyn Fs) -> Result<(), CheckpointError> {
    fs.remove_dir_all(&found.path).map_err(|source| CheckpointError::Io {
        action: "remove",
        path: found.path.clone(),
        source,
    })
}

/// N of `checkpoint-N`, written the one way that this program writes it.
fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let step: u64 = digits.parse().ok()?;
    (step.to_string() == digits).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::{StagedDirectory, Storage};

    fn save(dir: &Path, step: u64) {
        let mut staged = StagedDirectory::create(&Storage, &path_of(dir, step)).unwrap();
        staged.write("trainer_state.json", b"{}").unwrap();
        staged.commit(serde_json::Map::new()).unwrap();
    }

    fn steps(dir: &Path) -> Vec<u64> {
        find(dir).unwrap().iter().map(|f| f.step).collect()
    }

    #[test]
    fn order_is_numeric_and_other_names_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for step in [10, 9, 100] {
            save(dir.path(), step);
        }
        for name in ["checkpoint-best", "checkpoint-", "checkpoint-007", "checkpoint-+7", ".tmp-checkpoint-11-1-0"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("checkpoint-3"), "a file").unwrap();
        assert_eq!(steps(dir.path()), [9, 10, 100]);
    }

    #[test]
    fn a_broken_newest_is_skipped_and_told() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), 5);
        save(dir.path(), 10);
        std::fs::write(path_of(dir.path(), 10).join("trainer_state.json"), "{ }").unwrap();
        std::fs::create_dir(path_of(dir.path(), 15)).unwrap();
        let mut notes = Vec::new();
        let (found, _) = newest_whole(dir.path(), |error| notes.push(error.to_string())).unwrap().unwrap();
        assert_eq!(found.step, 5);
        assert_eq!(notes.len(), 2);
        assert!(notes[0].contains("checkpoint-15") && notes[0].contains("no manifest.json"), "{notes:?}");
        assert!(notes[1].contains("trainer_state.json") && notes[1].contains("3 bytes, expected 2"), "{notes:?}");
    }

    #[test]
    fn pruning_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        for step in [2, 4, 6, 8] {
            save(dir.path(), step);
        }
        prune(dir.path(), 0, 8, &Storage).unwrap();
        assert_eq!(steps(dir.path()).len(), 4);
        prune(dir.path(), 3, 8, &Storage).unwrap();
        assert_eq!(steps(dir.path()), [4, 6, 8]);
        // Steps beyond the newest belong to a run that was started over.
        prune(dir.path(), 1, 4, &Storage).unwrap();
        assert_eq!(steps(dir.path()), [4]);
    }
}
