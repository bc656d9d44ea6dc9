//! Which file of a directory holds the rows to train on, and which those to evaluate on.

use std::path::{Path, PathBuf};

use crate::DataError;

/// What rows are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on: `train.jsonl`.
    Train,
    /// To evaluate on: `valid.jsonl`.
    Valid,
}

impl Split {
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
