//! One file in memory, read by the system page by page as it is used.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::CheckpointError;

/// A file mapped read-only. Share it with an `Arc`; the mapping ends with its last holder.
///
/// The bytes are the file's: a file that somebody shortens while it is mapped makes the next access beyond its new end
/// end the process with SIGBUS, which no library can turn into a `Result`. [`MappedFile::check_length`] finds it before
/// the access in all but the narrowest race. Replacing a file by rename, as this crate and every careful downloader does,
/// leaves an existing mapping intact.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped {
        file: File,
        map: Mmap,
    },
    /// What was made of another file.
    Made(Vec<u8>),
}

impl MappedFile {
    /// Maps the whole file.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] if it cannot be opened or mapped, [`CheckpointError::NotAFile`] for a directory, pipe or
    /// device, [`CheckpointError::Empty`] for a file of 0 bytes.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let failed = |source| CheckpointError::Io { action: "open", path: path.clone(), source };
        // Asked before opening: opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(CheckpointError::NotAFile { path });
        }
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            return Err(CheckpointError::Empty { path });
        }
        // SAFETY: the mapping is private and read-only, so this process never writes through it. Another process may write
        // to or shorten the file: then bytes change under a reader, as with any mapped file. They are only ever read as
        // plain numbers, for which every bit pattern is a value, and lengths were copied out before they were checked.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| CheckpointError::Io {
            action: "map",
            path: path.clone(),
            source,
        })?;
        Ok(Self { path, bytes: Bytes::Mapped { file, map } })
    }

    /// `bytes` that were made of the file `path`, which names them in errors.
    pub(crate) fn made(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes: Bytes::Made(bytes) }
    }

    /// Where the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file is still as long as it was when it was mapped.
    ///
    /// # Errors
    /// [`CheckpointError::Shortened`], [`CheckpointError::Io`].
    pub fn check_length(&self) -> Result<(), CheckpointError> {
        let Bytes::Mapped { file, map } = &self.bytes else { return Ok(()) };
        let failed = |source| CheckpointError::Io { action: "look at", path: self.path.clone(), source };
        let now = file.metadata().map_err(failed)?.len();
        let mapped = map.len() as u64;
        if now < mapped {
            return Err(CheckpointError::Shortened { path: self.path.clone(), mapped, now });
        }
        Ok(())
    }
}

impl MappedFile {
    /// Gives the memory of a part back to the system, which reads it again from the file when it is next used. Refused
    /// advice changes nothing.
    pub fn release(&self, start: usize, len: usize) {
        if let Bytes::Mapped { map, .. } = &self.bytes {
            // SAFETY: the mapping is private and never written, so what its pages hold is in the file.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
        }
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped { map, .. } => map,
            Bytes::Made(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_file_with_bytes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.safetensors");
        std::fs::write(&empty, b"").unwrap();
        let error = MappedFile::open(&empty).unwrap_err();
        assert!(error.to_string().contains("is empty (0 bytes)"), "{error}");
        assert!(matches!(MappedFile::open(dir.path()), Err(CheckpointError::NotAFile { .. })));
        assert!(matches!(MappedFile::open(dir.path().join("no")), Err(CheckpointError::Io { action: "open", .. })));
    }

    #[test]
    fn a_shortened_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        mapped.check_length().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(4).unwrap();
        let error = mapped.check_length().unwrap_err();
        assert!(matches!(error, CheckpointError::Shortened { mapped: 10, now: 4, .. }), "{error}");
    }
}
