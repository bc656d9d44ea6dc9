//! Which file of a directory holds the rows to train on, and which those to evaluate on.

use std::path::{Path, PathBuf};

use crate::DataError;
use crate::image_folder::is_image_folder;

/// What rows are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on: `train.jsonl`.
    Train,
    /// To evaluate on: `valid.jsonl`.
    Valid,
}

impl Split {
    /// What its folder of images is called, beside that of the other split.
    fn folder_name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Train => "train.jsonl",
            Self::Valid => "valid.jsonl",
        }
    }

    /// The file of this split: `path` itself, or its file in the directory `path`.
    ///
    /// # Errors
    /// [`DataError::NoSplit`] if `path` is a directory without it.
    pub fn file(self, path: &Path) -> Result<PathBuf, DataError> {
        if !path.is_dir() {
            return Ok(path.to_owned());
        }
        let file = path.join(self.file_name());
        if file.exists() {
            Ok(file)
        } else {
            Err(DataError::NoSplit { dir: path.to_owned(), expected: self.file_name() })
        }
    }
}

impl Split {
    /// The images of this split: a file of rows, as [`Split::file`], or a folder with a folder for each class: `train` or
    /// `valid` in the directory `path`, or `path` itself.
    ///
    /// # Errors
    /// [`DataError::NoClasses`] if `path` is a directory with neither.
    pub fn images(self, path: &Path) -> Result<PathBuf, DataError> {
        if let Ok(file) = self.file(path) {
            return Ok(file);
        }
        let folder = path.join(self.folder_name());
        match [folder.as_path(), path].into_iter().find(|folder| is_image_folder(folder)) {
            Some(folder) => Ok(folder.to_owned()),
            None => Err(DataError::NoClasses { dir: path.to_owned(), rows: self.file_name() }),
        }
    }

    /// As [`Split::images`], of a directory that has images of this split by name, and not of one whose images may be another
    /// split's.
    pub fn own_images(self, path: &Path) -> Option<PathBuf> {
        let found = self.images(path).ok()?;
        (found != path).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_itself_and_a_directory_has_one_for_each_split() {
        let dir = tempfile::tempdir().unwrap();
        let train = dir.path().join("train.jsonl");
        std::fs::write(&train, "").unwrap();
        assert_eq!(Split::Train.file(dir.path()).unwrap(), train);
        assert_eq!(Split::Valid.file(&train).unwrap(), train);
        assert!(Split::Valid.file(dir.path()).unwrap_err().to_string().contains("valid.jsonl"));
    }
}
