//! Files that are either the old or the new one, never half of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::directory::file_names;
use crate::fs::WritableFile;
use crate::{CheckpointError, Fs, Manifest};

const TEMPORARY: &str = ".tmp-";

/// Writes `bytes` to `path`: to a temporary sibling, synced, renamed over `path`, and the directory synced. On an error
/// the temporary file is removed and `path` is what it was.
///
/// # Errors
/// [`CheckpointError::Io`].
pub fn atomic_write(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = AtomicFile::create(fs, path)?;
    file.write_all(bytes).map_err(|source| io_error("write", path, source))?;
    file.commit()
}

/// Removes what an interrupted save left in `dir`: temporary files and half-written directories. Only for whoever holds
/// the directory's lock, since a save in progress looks the same. Returns what was removed.
///
/// A directory that was interrupted between its last file and its name, or that was moved aside for another which then did
/// not get the name, is whole: it takes the name if that is free.
///
/// # Errors
/// [`CheckpointError::Io`].
pub fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut removed = Vec::new();
    for name in file_names(dir)? {
        let Some(target) = target_of(&name).map(|target| dir.join(target)) else { continue };
        let path = dir.join(&name);
        let is_dir = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_dir && !target.exists() && Manifest::verify(&path).is_ok() {
            fs.rename(&path, &target).map_err(|source| io_error("rename to", &target, source))?;
            fs.sync_dir(dir).map_err(|source| io_error("sync", dir, source))?;
            continue;
        }
        let result = if is_dir { fs.remove_dir_all(&path) } else { fs.remove_file(&path) };
        result.map_err(|source| io_error("remove", &path, source))?;
        removed.push(path);
    }
    Ok(removed)
}

/// A sibling of `target` that no other save uses: `.tmp-<name>-<pid>-<count>`.
pub(crate) fn temporary_sibling(target: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = std::ffi::OsString::from(TEMPORARY);
    name.push(target.file_name().unwrap_or_default());
    name.push(format!("-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    target.with_file_name(name)
}

/// The name that the temporary file or directory called `name` was to have; `None` if it is not temporary.
fn target_of(name: &str) -> Option<&str> {
    let numbered = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mut parts = name.rsplitn(3, '-');
    let (count, pid, rest) = (parts.next()?, parts.next()?, parts.next()?);
    rest.strip_prefix(TEMPORARY).filter(|_| numbered(count) && numbered(pid))
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Io { action, path: path.to_owned(), source }
}

/// A file that takes its name when it is complete. Dropped before that, it is removed.
pub(crate) struct AtomicFile<'a> {
    fs: &'a dyn Fs,
    target: PathBuf,
    temporary: PathBuf,
    file: Option<Box<dyn WritableFile>>,
}

impl<'a> AtomicFile<'a> {
    pub(crate) fn create(fs: &'a dyn Fs, target: &Path) -> Result<Self, CheckpointError> {
        // A device or a pipe would be replaced by a file.
        if std::fs::metadata(target).is_ok_and(|there| !there.is_file()) {
            return Err(CheckpointError::NotAFile { path: target.to_owned() });
        }
        let temporary = temporary_sibling(target);
        let file = fs.create(&temporary).map_err(|source| io_error("create", target, source))?;
        Ok(Self { fs, target: target.to_owned(), temporary, file: Some(file) })
    }

    pub(crate) fn commit(mut self) -> Result<(), CheckpointError> {
        if let Some(file) = &mut self.file {
            file.sync().map_err(|source| io_error("sync", &self.target, source))?;
        }
        self.fs.rename(&self.temporary, &self.target).map_err(|source| io_error("rename to", &self.target, source))?;
        self.file = None;
        let dir = parent(&self.target);
        self.fs.sync_dir(dir).map_err(|source| io_error("sync", dir, source))
    }
}

impl Write for AtomicFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.flush())
    }
}

impl Drop for AtomicFile<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // The error that led here is being reported; a file that cannot be removed either is swept at the next start.
            let _ = self.fs.remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn a_file_is_replaced_with_the_usual_mode() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ä b.json");
        atomic_write(&Storage, &path, b"old").unwrap();
        atomic_write(&Storage, &path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let plain = dir.path().join("plain");
        std::fs::write(&plain, b"").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
        assert_eq!(file_names(dir.path()).unwrap(), ["plain", "ä b.json"]);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, dir.path()] {
            let error = atomic_write(&Storage, path, b"x").unwrap_err();
            assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
        }
        assert_eq!(file_names(dir.path()).unwrap(), ["link"]);
    }

    #[test]
    fn leftovers_are_told_from_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let leftover = temporary_sibling(&dir.path().join("checkpoint-10"));
        std::fs::create_dir(&leftover).unwrap();
        std::fs::write(leftover.join("half"), b"x").unwrap();
        let file = temporary_sibling(&dir.path().join("a.json"));
        std::fs::write(&file, b"{").unwrap();
        for keep in [".tmp-mine", "checkpoint-9", ".tmp-x-1", "a-1-2"] {
            std::fs::write(dir.path().join(keep), b"").unwrap();
        }
        let mut removed = remove_leftovers(&Storage, dir.path()).unwrap();
        removed.sort();
        assert_eq!(removed, [file, leftover]);
        assert_eq!(file_names(dir.path()).unwrap().len(), 4);
    }
}
