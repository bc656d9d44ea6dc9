//! A file system that fails on request, for tests of everything that saves.
//!
//! The loop that SQLite calls an anomaly test: let operation 1 fail, then 2, then 3, until a run gets through without
//! reaching the failing operation; after each run only the old or the new state may be found.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Fs;
use crate::fs::WritableFile;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With this error; later operations work, as after a full disk was cleared.
    Error(io::ErrorKind),
    /// The process ends: a write is done by half, and no later operation, not even cleaning up, has an effect.
    Crash,
    /// As [`Fault::Crash`], and [`FaultyFs::lose_power`] then undoes what was not synced.
    PowerLoss,
}

/// Wraps the real file system, counts operations, and fails at one of them.
#[derive(Clone)]
pub struct FaultyFs {
    state: Arc<Mutex<State>>,
}

struct State {
    fault: Fault,
    at: u64,
    count: u64,
    down: bool,
    undo: Vec<Undo>,
}

/// What a power failure takes back unless it was synced.
enum Undo {
    /// A file's data beyond `synced` bytes.
    Data { file: File, synced: Arc<AtomicU64> },
    /// A new entry of a directory.
    Entry { path: PathBuf },
    /// A rename; `replaced` is a second link to what `to` was.
    Rename { from: PathBuf, to: PathBuf, replaced: Option<PathBuf> },
}

impl FaultyFs {
    /// Fails at operation `at`, counted from 1.
    pub fn new(fault: Fault, at: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State { fault, at, count: 0, down: false, undo: Vec::new() })) }
    }

    /// Whether the failing operation was reached.
    pub fn struck(&self) -> bool {
        let state = self.state();
        state.count >= state.at
    }

    /// Takes back, newest first, what was not synced. Removals count as synced at once.
    ///
    /// # Errors
    /// The real file system's, which would make the test meaningless.
    pub fn lose_power(&self) -> io::Result<()> {
        let undo = std::mem::take(&mut self.state().undo);
        for step in undo.into_iter().rev() {
            match step {
                Undo::Data { file, synced } => file.set_len(synced.load(Ordering::Relaxed))?,
                Undo::Entry { path } if path.is_dir() => std::fs::remove_dir_all(path)?,
                Undo::Entry { path } => std::fs::remove_file(path).or_else(not_found_is_fine)?,
                Undo::Rename { from, to, replaced } => {
                    std::fs::rename(&to, from)?;
                    if let Some(replaced) = replaced {
                        std::fs::rename(replaced, to)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; an error if it is the one that fails or the process is gone.
    fn operation(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.down {
            return Err(io::Error::other("the process is gone"));
        }
        state.count += 1;
        if state.count != state.at {
            return Ok(());
        }
        match state.fault {
            Fault::Error(kind) => Err(kind.into()),
            Fault::Crash | Fault::PowerLoss => {
                state.down = true;
                Err(io::Error::other("the process ends here"))
            }
        }
    }

    /// Only a power failure takes anything back.
    fn remember(&self, step: Undo) {
        let mut state = self.state();
        if state.fault == Fault::PowerLoss {
            state.undo.push(step);
        }
    }
}

fn not_found_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

impl Fs for FaultyFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        self.operation()?;
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let synced = Arc::new(AtomicU64::new(0));
        self.remember(Undo::Entry { path: path.to_owned() });
        self.remember(Undo::Data { file: file.try_clone()?, synced: synced.clone() });
        Ok(Box::new(FaultyFile { fs: self.clone(), file, synced }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        std::fs::create_dir(path)?;
        self.remember(Undo::Entry { path: path.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        let replaced = if self.state().fault == Fault::PowerLoss && to.is_file() {
            let kept = to.with_extension(format!("replaced-{}", self.state().count));
            std::fs::hard_link(to, &kept)?;
            Some(kept)
        } else {
            None
        };
        std::fs::rename(from, to)?;
        self.remember(Undo::Rename { from: from.to_owned(), to: to.to_owned(), replaced });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        std::fs::remove_dir_all(path)?;
        let inside = |p: &Path| p.starts_with(path);
        self.state().undo.retain(|step| match step {
            Undo::Data { .. } => true,
            Undo::Entry { path } => !inside(path),
            Undo::Rename { to, .. } => !inside(to),
        });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        let mut kept = Vec::new();
        for step in std::mem::take(&mut self.state().undo) {
            match step {
                Undo::Entry { path: entry } if entry.parent() == Some(path) => {}
                Undo::Rename { to, replaced, .. } if to.parent() == Some(path) => {
                    if let Some(replaced) = replaced {
                        std::fs::remove_file(replaced)?;
                    }
                }
                other => kept.push(other),
            }
        }
        self.state().undo = kept;
        Ok(())
    }
}

struct FaultyFile {
    fs: FaultyFs,
    file: File,
    synced: Arc<AtomicU64>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let was_down = self.fs.state().down;
        if let Err(error) = self.fs.operation() {
            if !was_down && self.fs.state().down {
                self.file.write_all(&bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WritableFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.operation()?;
        self.synced.store(self.file.metadata()?.len(), Ordering::Relaxed);
        Ok(())
    }
}
