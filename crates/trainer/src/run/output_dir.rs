//! The directory a run writes to: made, probed, and held by one trainer at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use checkpoint::{Fs, remove_leftovers};

use super::OutputError;

/// Held locked while a run writes. It stays behind, and tells that the other files are a run's.
pub const LOCK_FILE: &str = ".tunesmith.lock";
/// Files that a run writes and that other programs write too.
const WRITTEN_BY_OTHERS: [&str; 8] = [
    "model_head.safetensors",
    "adapter.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "README.md",
];

/// An output directory that no other trainer uses while this lives.
#[derive(Debug)]
pub struct OutputDir {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl OutputDir {
    /// Makes `path` if need be, locks it, and removes what an interrupted save left in it.
    ///
    /// # Errors
    /// [`OutputError::NotADirectory`]; [`OutputError::NotWritable`]; [`OutputError::InUse`], naming the process that
    /// holds the lock; [`OutputError::Foreign`] if a run would overwrite files that no run has written.
    pub fn open(path: &Path, fs: &dyn Fs) -> Result<Self, OutputError> {
        let path = path.to_owned();
        if path.exists() && !path.is_dir() {
            return Err(OutputError::NotADirectory { path });
        }
        let not_writable = |source| OutputError::NotWritable { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(not_writable)?;
        let lock_path = path.join(LOCK_FILE);
        if !lock_path.exists() {
            refuse_foreign(&path)?;
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let mut lock = options.map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OutputError::InUse { pid: read_pid(&mut lock), path }),
            // A file system without locks cannot keep two trainers apart; it is no reason not to train.
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => return Err(OutputError::NotWritable { path, source }),
        }
        write_pid(&mut lock).map_err(not_writable)?;
        remove_leftovers(fs, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn refuse_foreign(path: &Path) -> Result<(), OutputError> {
    match WRITTEN_BY_OTHERS.iter().find(|name| path.join(name).exists()) {
        Some(file) => Err(OutputError::Foreign { path: path.to_owned(), file }),
        None => Ok(()),
    }
}

/// The probe of whether the directory can be written to, and what a second trainer is told.
fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    lock.sync_data()
}

fn read_pid(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.take(32).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::Storage;

    #[test]
    fn a_second_trainer_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs/ü a");
        let held = OutputDir::open(&path, &Storage).unwrap();
        let message = OutputDir::open(&path, &Storage).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(held);
        OutputDir::open(&path, &Storage).unwrap();
    }

    #[test]
    fn files_of_others_are_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        let refused = OutputDir::open(dir.path(), &Storage).unwrap_err();
        assert!(matches!(refused, OutputError::Foreign { file: "config.json", .. }), "{refused}");
        assert!(!dir.path().join(LOCK_FILE).exists());
        std::fs::remove_file(dir.path().join("config.json")).unwrap();
        OutputDir::open(dir.path(), &Storage).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(OutputDir::open(&file, &Storage), Err(OutputError::NotADirectory { .. })));
        assert!(matches!(OutputDir::open(&file.join("below"), &Storage), Err(OutputError::NotWritable { .. })));
    }

    #[test]
    fn leftovers_of_an_interrupted_save_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        drop(OutputDir::open(dir.path(), &Storage).unwrap());
        let half = dir.path().join(".tmp-checkpoint-5-123-0");
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join("optimizer.safetensors"), "half").unwrap();
        OutputDir::open(dir.path(), &Storage).unwrap();
        assert!(!half.exists());
    }
}
