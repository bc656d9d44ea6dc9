//! Encoded rows in files, so that they are encoded once and take no memory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use checkpoint::{atomic_write, read_json, sha256_file, sha256_hex};
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::columns::{Columns, GrowingColumns, Lengths};
use super::{Dataset, encode_lines};
use crate::encode::Encoder;
use crate::{ChatTemplate, DataError, DataOptions, Statistics, Tokenizer};

/// What an entry says of itself, written last: an entry without it is none.
const DESCRIPTION: &str = "dataset.json";
/// The largest description, many times over.
const DESCRIPTION_LIMIT: u64 = 1 << 20;
/// Of the layout of an entry, and of the rules by which rows are encoded: another version never reads it.
const VERSION: u32 = 1;

/// A directory of encoded data files, one entry for each file and each way to encode it.
///
/// An entry is a directory named by a hash of all that it depends on: the content of the file, the tokenizer, the chat
/// template and the options. It holds one file for each kind of number, which are mapped: what is not used takes no memory, and
/// what is used can be given back by the system. An entry appears whole or not at all, and one that is damaged is made again.
/// Only one process at a time makes an entry; others wait for it.
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

    /// The examples of the file `path` as `encoder` makes them: its entry, which is made now if there is none.
    pub(super) fn load(&self, path: &Path, encoder: &Encoder<'_>) -> Result<Option<Dataset>, DataError> {
        let entry = self.dir.join(key(path, encoder)?);
        if let Some(dataset) = open(&entry, encoder.options) {
            return Ok(Some(dataset));
        }
        if !self.writable {
            return Ok(None);
        }
        let failed = |source| DataError::Cache { dir: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let lock = File::create(entry.with_extension("lock")).map_err(failed)?;
        match lock.lock() {
            // A file system without locks cannot keep two processes apart; the slower one then finds the name taken.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(failed(error)),
            _ => {}
        }
        // Another process may have made it meanwhile.
        match open(&entry, encoder.options) {
            Some(dataset) => Ok(Some(dataset)),
            None => self.make(&entry, path, encoder).map(Some),
        }
    }

    /// Encodes the file `path` into the directory `entry`, block by block, so that no more than a block is in memory.
    fn make(&self, entry: &Path, path: &Path, encoder: &Encoder<'_>) -> Result<Dataset, DataError> {
        let failed = |source| DataError::Cache { dir: self.dir.clone(), source };
        let staging = Staging::new(entry.with_extension("tmp")).map_err(failed)?;
        let mut builder = Builder::new(encoder, GrowingColumns::in_files(&staging.0).map_err(failed)?);
        encode_lines(super::reader(path)?, path, encoder, &mut builder, |columns| columns.spill().map_err(failed))?;
        builder.check(path)?;
        let lengths = builder.columns.close().map_err(failed)?;
        let Some(columns) = Columns::open(&staging.0, &lengths)? else {
            return Err(failed(io::Error::other("what was written is not what is read; is the disk full or failing?")));
        };
        let dataset = Dataset::new(encoder.options.task, columns, builder.statistics);
        let description =
            Description { version: VERSION, sha256: dataset.sha256(), lengths, statistics: dataset.statistics.clone() };
        let json = serde_json::to_vec_pretty(&description).map_err(|error| failed(error.into()))?;
        atomic_write(&checkpoint::Storage, &staging.0.join(DESCRIPTION), &json)?;
        // A damaged entry, or nothing. The mapping stays what it is under the new name.
        remove_dir(entry).map_err(failed)?;
        fs::rename(&staging.0, entry).map_err(failed)?;
        Ok(dataset)
    }
}

/// The name of the entry: a hash of all that the examples of the file `path` depend on.
fn key(path: &Path, encoder: &Encoder<'_>) -> Result<String, DataError> {
    let parts = [
        format!("tunesmith {} {VERSION} {}", env!("CARGO_PKG_VERSION"), cfg!(target_endian = "little")),
        sha256_file(path)?,
        format!("{:?}", encoder.options),
        encoder.tokenizer.map_or_else(String::new, Tokenizer::fingerprint),
        encoder.template.map_or_else(String::new, ChatTemplate::fingerprint),
    ];
    // Each with its length before it, so that no two lists have the same text.
    let text: String = parts.iter().map(|part| format!("{} {part}\n", part.len())).collect();
    Ok(sha256_hex(text.as_bytes())[..32].to_owned())
}

/// The entry, if it is whole.
fn open(entry: &Path, options: &DataOptions) -> Option<Dataset> {
    let description: Description = read_json(&entry.join(DESCRIPTION), DESCRIPTION_LIMIT).ok()?;
    if description.version != VERSION {
        return None;
    }
    let columns = Columns::open(entry, &description.lengths).ok().flatten()?;
    let dataset = Dataset::new(options.task, columns, description.statistics);
    Some(Dataset { digest: OnceLock::from(description.sha256), ..dataset })
}

/// An entry in the making. It is removed unless it was renamed, and so is what an earlier process left of it.
struct Staging(PathBuf);

impl Staging {
    fn new(path: PathBuf) -> io::Result<Self> {
        remove_dir(&path)?;
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What led here is being reported; what cannot be removed is removed when the entry is made the next time.
        let _ = remove_dir(&self.0);
    }
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
