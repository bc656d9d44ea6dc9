//! A folder of images: a folder in it for each class.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::DataError;

/// The ends of files that are images, in any case.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// The images of one class.
pub(crate) struct Class {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    /// By name.
    pub(crate) files: Vec<PathBuf>,
}

/// Whether `path` is a directory that holds directories.
pub fn is_image_folder(path: &Path) -> bool {
    entries(path).is_ok_and(|entries| entries.iter().any(|entry| entry.is_dir()))
}

/// The classes of the folder `path`, by name, each with its images. Files beside the folders, hidden entries and files of
/// other kinds are not looked at, as in torchvision's `ImageFolder`.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::NoClasses`]; [`DataError::EmptyClass`].
pub(crate) fn classes(path: &Path) -> Result<Vec<Class>, DataError> {
    let mut classes = Vec::new();
    for dir in entries(path)?.into_iter().filter(|entry| entry.is_dir()) {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files: Vec<PathBuf> = entries(&dir)?.into_iter().filter(|file| is_image(file)).collect();
        if files.is_empty() {
            return Err(DataError::EmptyClass { dir, class: name });
        }
        classes.push(Class { name, dir, files });
    }
    if classes.is_empty() {
        return Err(DataError::NoClasses { dir: path.to_owned(), rows: "a file of rows" });
    }
    Ok(classes)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    path.is_file() && EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// What is in a directory and not hidden, by name.
fn entries(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push(entry.path());
        }
    }
    entries.sort_unstable();
    Ok(entries)
}
