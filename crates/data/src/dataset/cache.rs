//! Encoded rows in files, so that they are encoded once and take no memory.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use checkpoint::{atomic_write, hexdigest, read_json, sha256_file, sha256_hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::builder::Builder;
use super::columns::{Columns, GrowingColumns, Lengths};
use super::{Dataset, encode_lines};
use crate::encode::Encoder;
use crate::{DataError, DataOptions, Statistics};

/// What an entry says of itself, written last: an entry without it is none.
const DESCRIPTION: &str = "dataset.json";
/// The largest description, many times over.
const DESCRIPTION_LIMIT: u64 = 1 << 20;
/// How the name of an entry in the making ends, after that of the entry and a number that no other has.
const STAGING: &str = "tmp";
/// How long to wait before another process is looked for again that makes the same entry.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Of the layout of an entry, and of the rules by which rows are encoded: another version never reads it.
const VERSION: u32 = 1;

/// A directory of encoded data files, one entry for each file and each way to encode it.
///
/// An entry is a directory named by a hash of all that it depends on: the content of the file, the tokenizer, the chat
/// template and the options. It holds one file for each kind of number, which are mapped: what is not used takes no memory, and
/// what is used can be given back by the system. An entry appears whole or not at all; it is read through before it is used, and
/// one that is damaged is made again. Only one process at a time makes an entry and others wait for it, where the file system has
/// locks; where it has none each makes one, and the first to end is kept.
#[derive(Clone, Debug)]
pub struct TokenCache {
    dir: PathBuf,
    writable: bool,
}

/// `dataset.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    version: u32,
    /// Of the examples, see [`Dataset::sha256`].
    sha256: String,
    lengths: Lengths,
    statistics: Statistics,
    /// Of the rest of the description and of all files.
    checksum: String,
}

impl Description {
    fn new(dataset: &Dataset, lengths: Lengths) -> Self {
        let sha256 = dataset.sha256();
        let checksum = Self::checksum(&sha256, &lengths, dataset);
        Self { version: VERSION, sha256, lengths, statistics: dataset.statistics.clone(), checksum }
    }

    fn checksum(sha256: &str, lengths: &Lengths, dataset: &Dataset) -> String {
        let mut hasher = Sha256::new_with_prefix(format!("{sha256} {lengths:?} {:?}", dataset.statistics));
        dataset.columns.hash_files(&mut hasher);
        hexdigest(hasher)
    }
}

impl TokenCache {
    /// The cache in `dir`, which is made when the first entry is.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), writable: true }
    }

    /// The same, in which no entry is made.
    pub fn read_only(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), writable: false }
    }

    /// Where its entries are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The examples of the file `path`, whose SHA-256 is `content`, as `encoder` makes them: its entry, which is made now if there is
    /// none. `None` if it may not be.
    pub(super) fn load(&self, path: &Path, content: &str, encoder: &Encoder<'_>) -> Result<Option<Dataset>, DataError> {
        match self.find(content, encoder) {
            None if self.writable => self.make(path, content, encoder, || true),
            found => Ok(found),
        }
    }

    /// The examples of a file whose SHA-256 is `content`, if there is an entry of them.
    pub(super) fn find(&self, content: &str, encoder: &Encoder<'_>) -> Option<Dataset> {
        open(&self.entry(content, encoder), encoder.options)
    }

    /// Whether entries are made.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(super) fn entry(&self, content: &str, encoder: &Encoder<'_>) -> PathBuf {
        let parts = [
            format!("tunesmith {} {VERSION} {}", env!("CARGO_PKG_VERSION"), cfg!(target_endian = "little")),
            encoder.fingerprint(content),
        ];
        self.dir.join(&sha256_hex(parts.concat().as_bytes())[..32])
    }

    /// Makes the entry of the file `path`, whose SHA-256 is `content`, unless another process does it first. `None` if `go_on` ends
    /// it, which is asked after each block of rows.
    pub(super) fn make(
        &self,
        path: &Path,
        content: &str,
        encoder: &Encoder<'_>,
        go_on: impl Fn() -> bool,
    ) -> Result<Option<Dataset>, DataError> {
        let entry = self.entry(content, encoder);
        let failed = |source| DataError::Cache { dir: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let lock = File::create(entry.with_extension("lock")).map_err(failed)?;
        // A file system without locks cannot keep two processes apart; the slower one then finds the name taken.
        let is_locked = loop {
            match lock.try_lock() {
                Ok(()) => break true,
                Err(TryLockError::Error(_)) => break false,
                Err(TryLockError::WouldBlock) if !go_on() => return Ok(None),
                Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_LOOKS),
            }
        };
        if is_locked {
            // Another process may have made it meanwhile, or was stopped while it did.
            if let Some(dataset) = open(&entry, encoder.options) {
                return Ok(Some(dataset));
            }
            remove_staging(&entry).map_err(failed)?;
        }
        self.encode(&entry, path, content, encoder, go_on)
    }

    /// Encodes the file `path`, whose SHA-256 is `content`, into the directory `entry`, block by block, so that no more than a
    /// block is in memory.
    fn encode(
        &self,
        entry: &Path,
        path: &Path,
        content: &str,
        encoder: &Encoder<'_>,
        go_on: impl Fn() -> bool,
    ) -> Result<Option<Dataset>, DataError> {
        let failed = |source| DataError::Cache { dir: self.dir.clone(), source };
        let staging = Staging::new(entry).map_err(failed)?;
        let mut builder = Builder::new(encoder, GrowingColumns::in_files(&staging.0).map_err(failed)?);
        let is_whole = encode_lines(super::reader(path)?, path, encoder, &mut builder, |columns| {
            columns.spill().map_err(failed)?;
            Ok(go_on())
        })?;
        if !is_whole {
            return Ok(None);
        }
        builder.check(path)?;
        // The entry would have the name of a content that it does not hold.
        if sha256_file(path)? != content {
            return Err(DataError::Changed { path: path.to_owned() });
        }
        let lengths = builder.columns.close().map_err(failed)?;
        let Some(columns) = Columns::open(&staging.0, &lengths)? else {
            return Err(failed(io::Error::other("what was written is not what is read; is the disk full or failing?")));
        };
        let dataset = Dataset::new(encoder.options.task, columns, builder.statistics);
        let json =
            serde_json::to_vec_pretty(&Description::new(&dataset, lengths)).map_err(|error| failed(error.into()))?;
        atomic_write(&checkpoint::Storage, &staging.0.join(DESCRIPTION), &json)?;
        // A damaged entry, or nothing. The mapping stays what it is under the new name.
        remove(entry).map_err(failed)?;
        match fs::rename(&staging.0, entry) {
            Ok(()) => Ok(Some(dataset)),
            // Another process was faster, and holds the same examples.
            Err(error) => open(entry, encoder.options).map(Some).ok_or_else(|| failed(error)),
        }
    }
}

/// The entry, if it is whole.
fn open(entry: &Path, options: &DataOptions) -> Option<Dataset> {
    let description: Description = read_json(&entry.join(DESCRIPTION), DESCRIPTION_LIMIT).ok()?;
    if description.version != VERSION {
        return None;
    }
    let columns = Columns::open(entry, &description.lengths).ok().flatten()?;
    let dataset = Dataset::new(options.task, columns, description.statistics);
    let is_whole = Description::checksum(&description.sha256, &description.lengths, &dataset) == description.checksum;
    is_whole.then(|| Dataset { digest: OnceLock::from(description.sha256), ..dataset })
}

/// An entry in the making, which is removed unless it was renamed.
struct Staging(PathBuf);

impl Staging {
    /// A new directory beside `entry`, under a name that neither another thread has nor a process in another container, whose
    /// number may be the same.
    fn new(entry: &Path) -> io::Result<Self> {
        loop {
            // No two have the same keys, which each thread begins at random.
            let number = RandomState::new().build_hasher().finish();
            let path = entry.with_extension(format!("{number:016x}.{STAGING}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| Self(path)),
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What led here is being reported; what cannot be removed is removed when the entry is made the next time.
        let _ = remove(&self.0);
    }
}

/// Removes what processes that were stopped left of `entry`. Only who holds its lock knows that none is at work.
fn remove_staging(entry: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (entry.parent(), entry.file_name()) else { return Ok(()) };
    for other in fs::read_dir(dir)? {
        let path = other?.path();
        let is_staging = path.extension().is_some_and(|extension| extension == STAGING);
        let is_of_entry = path.file_stem().is_some_and(|stem| Path::new(stem).file_stem() == Some(name));
        if is_staging && is_of_entry {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a directory or a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_may_make_an_entry_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let entry = dir.path().join("0123456789abcdef");
        let [one, other] = [(); 2].map(|()| Staging::new(&entry).unwrap());
        assert!(one.0 != other.0 && one.0.is_dir() && other.0.is_dir());
        drop(other);
        assert!(one.0.is_dir());
        // Who holds the lock knows that what is left is nobody's.
        remove_staging(&entry).unwrap();
        assert!(!one.0.exists());
    }
}
