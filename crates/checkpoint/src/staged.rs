//! Directories that appear whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::atomic::{io_error, parent, temporary_sibling};
use crate::digest::hexdigest;
use crate::fs::WritableFile;
use crate::writer::Plan;
use crate::{CheckpointError, Fs, TensorSpec, read_json, sha256_file};

/// The file that makes a directory a complete checkpoint; written last.
pub const MANIFEST: &str = "manifest.json";
/// Version of the manifest that this crate writes and the newest that it reads.
const FORMAT_VERSION: u32 = 1;
const MAX_MANIFEST: u64 = 64 << 20;

/// What `manifest.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the manifest's own layout.
    pub format_version: u32,
    /// Every other file in the directory.
    pub files: BTreeMap<String, ManifestEntry>,
    /// What the writer wants to know before it reads any of them: step, hash of the configuration.
    pub state: serde_json::Map<String, serde_json::Value>,
}

/// One file of a complete directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// In bytes.
    pub size: u64,
    /// Of the content, in lower-case hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Reads the manifest of `dir` and checks the size and hash of every file that it names.
    ///
    /// # Errors
    /// [`CheckpointError::Manifest`] says which file is missing or differs; [`CheckpointError::Json`],
    /// [`CheckpointError::Io`].
    pub fn verify(dir: &Path) -> Result<Self, CheckpointError> {
        let broken = |reason: String| CheckpointError::Manifest { dir: dir.to_owned(), reason };
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Err(broken(format!("it has no {MANIFEST}")));
        }
        let manifest: Manifest = read_json(&path, MAX_MANIFEST)?;
        if manifest.format_version > FORMAT_VERSION {
            let newer = manifest.format_version;
            return Err(broken(format!("its format {newer} is newer than {FORMAT_VERSION}, which this program reads")));
        }
        for (name, entry) in &manifest.files {
            let shown = crate::Quoted(name);
            if Path::new(name).file_name().is_none_or(|plain| plain != name.as_str()) {
                return Err(broken(format!("its manifest names {shown}, which is not a plain file name")));
            }
            let file = dir.join(name);
            let size = match std::fs::metadata(&file) {
                Ok(metadata) => metadata.len(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(broken(format!("{shown} is missing"))),
                Err(source) => return Err(io_error("read", &file, source)),
            };
            if size != entry.size {
                return Err(broken(format!("{shown} has {size} bytes, expected {}", entry.size)));
            }
            if sha256_file(&file)? != entry.sha256 {
                return Err(broken(format!("the content of {shown} differs from its sha256")));
            }
        }
        Ok(manifest)
    }
}

/// A directory in the making, beside its final place. Files are synced one by one, the manifest comes last, and one rename
/// makes the directory appear. Dropped before [`StagedDirectory::commit`], it is removed.
pub struct StagedDirectory<'a> {
    fs: &'a dyn Fs,
    target: PathBuf,
    staging: PathBuf,
    files: BTreeMap<String, ManifestEntry>,
    done: bool,
}

impl<'a> StagedDirectory<'a> {
    /// Starts a directory that will be named `target`, in the same parent: `.tmp-<name>-<pid>-<count>`.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn create(fs: &'a dyn Fs, target: &Path) -> Result<Self, CheckpointError> {
        let staging = temporary_sibling(target);
        fs.create_dir(&staging).map_err(|source| io_error("create", &staging, source))?;
        Ok(Self { fs, target: target.to_owned(), staging, files: BTreeMap::new(), done: false })
    }

    /// Writes one file.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], also for a name that was written before.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let path = self.target.join(name);
        self.add(name, |file| file.write_all(bytes).map_err(|source| io_error("write", &path, source)))
    }

    /// Writes one safetensors file; see [`write_safetensors`](crate::write_safetensors).
    ///
    /// # Errors
    /// Those of [`write_safetensors`](crate::write_safetensors).
    pub fn write_safetensors<'d, E: From<CheckpointError>>(
        &mut self,
        name: &str,
        tensors: &[TensorSpec],
        metadata: &[(&str, &str)],
        data: impl FnMut(&TensorSpec) -> Result<Cow<'d, [u8]>, E>,
    ) -> Result<(), E> {
        let path = self.target.join(name);
        let plan = Plan::new(&path, tensors, metadata)?;
        self.add(name, |file| plan.write(&path, file, data))
    }

    /// Writes the manifest with `state`, and gives the directory its name. A directory that has the name already is
    /// replaced: it is moved aside first, for no rename replaces a directory that holds files. A process that ends between
    /// the two leaves both whole, for [`remove_leftovers`](crate::remove_leftovers) to find.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; then the name belongs to what it belonged to before, or to the new directory if that could
    /// not be made safe against a power failure, or if what it replaced could not be removed.
    pub fn commit(mut self, state: serde_json::Map<String, serde_json::Value>) -> Result<(), CheckpointError> {
        let manifest = Manifest { format_version: FORMAT_VERSION, files: std::mem::take(&mut self.files), state };
        let mut json = serde_json::to_vec_pretty(&manifest)
            .map_err(|source| io_error("write", &self.target.join(MANIFEST), source.into()))?;
        json.push(b'\n');
        self.write(MANIFEST, &json)?;
        self.fs.sync_dir(&self.staging).map_err(|source| io_error("sync", &self.target, source))?;
        let old = if self.target.exists() { Some(temporary_sibling(&self.target)) } else { None };
        if let Some(old) = &old {
            self.fs.rename(&self.target, old).map_err(|source| io_error("move aside", &self.target, source))?;
        }
        if let Err(source) = self.fs.rename(&self.staging, &self.target) {
            if let Some(old) = &old {
                // If this fails as well, the old directory is a leftover with a valid manifest.
                let _ = self.fs.rename(old, &self.target);
            }
            return Err(io_error("rename to", &self.target, source));
        }
        self.done = true;
        let dir = parent(&self.target);
        self.fs.sync_dir(dir).map_err(|source| io_error("sync", dir, source))?;
        if let Some(old) = &old {
            self.fs.remove_dir_all(old).map_err(|source| io_error("remove", old, source))?;
        }
        Ok(())
    }

    fn add<E: From<CheckpointError>>(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Hashing) -> Result<(), E>,
    ) -> Result<(), E> {
        let shown = self.target.join(name);
        let file = self.fs.create(&self.staging.join(name)).map_err(|source| io_error("create", &shown, source))?;
        let mut file = Hashing { file, digest: Sha256::new(), size: 0 };
        write(&mut file)?;
        file.file.sync().map_err(|source| io_error("sync", &shown, source))?;
        self.files.insert(name.to_owned(), ManifestEntry { size: file.size, sha256: hexdigest(file.digest) });
        Ok(())
    }
}

impl Drop for StagedDirectory<'_> {
    fn drop(&mut self) {
        if !self.done {
            // The error that led here is being reported; what cannot be removed either is swept at the next start.
            let _ = self.fs.remove_dir_all(&self.staging);
        }
    }
}

/// A file that is hashed while it is written.
struct Hashing {
    file: Box<dyn WritableFile>,
    digest: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.digest.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
