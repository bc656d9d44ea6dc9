//! Small text files: configurations and indexes.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::header::without_position;
use crate::{CheckpointError, Foreign};

/// Reads a UTF-8 file of at most `limit` bytes; a byte order mark is dropped.
///
/// # Errors
/// [`CheckpointError::Io`], [`CheckpointError::NotAFile`], [`CheckpointError::TooLarge`] before reading, and
/// [`CheckpointError::Json`] with the line of the first byte that is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "read", path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(CheckpointError::NotAFile { path: path.to_owned() });
    }
    if metadata.len() > limit {
        return Err(CheckpointError::TooLarge { path: path.to_owned(), bytes: metadata.len(), limit });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) if Foreign::recognise(bytes) == Some(Foreign::Pickle) => {
            Err(CheckpointError::Foreign { path: path.to_owned(), what: Foreign::Pickle })
        }
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|&&b| b != b'\n').count() + 1;
            Err(CheckpointError::Json { path: path.to_owned(), line, column, reason: "not UTF-8".to_owned() })
        }
    }
}

/// Reads a JSON file of at most `limit` bytes as `T`.
///
/// # Errors
/// Those of [`read_text`] and [`parse_json`].
pub fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, CheckpointError> {
    parse_json(path, &read_text(path, limit)?)
}

/// Reads `text`, the content of the file `path`, as JSON.
///
/// # Errors
/// [`CheckpointError::Json`] with line and column; [`CheckpointError::Foreign`] for a web page or a Git LFS pointer in its
/// place; [`CheckpointError::Empty`].
pub fn parse_json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, CheckpointError> {
    serde_json::from_str(text).map_err(|error| match Foreign::recognise(text.as_bytes()) {
        Some(what) => CheckpointError::Foreign { path: path.to_owned(), what },
        None if text.is_empty() => CheckpointError::Empty { path: path.to_owned() },
        None => CheckpointError::Json {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            reason: without_position(&error),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<serde_json::Value, CheckpointError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, content).unwrap();
        read_json(&path, 100)
    }

    #[test]
    fn errors_name_line_and_column() {
        assert_eq!(read(b"\xef\xbb\xbf{\"a\": 1}").unwrap()["a"], 1);
        let error = read(b"{\n  \"a\": ,\n}").unwrap_err();
        assert!(matches!(error, CheckpointError::Json { line: 2, column: 8, .. }), "{error}");
        let error = read(b"{\n\"\xff\"}").unwrap_err();
        assert!(matches!(error, CheckpointError::Json { line: 2, column: 2, .. }), "{error}");
        assert!(matches!(read(b""), Err(CheckpointError::Empty { .. })));
        assert!(matches!(read(&[b' '; 101]), Err(CheckpointError::TooLarge { bytes: 101, limit: 100, .. })));
        assert!(matches!(read(b"<!doctype html>"), Err(CheckpointError::Foreign { what: Foreign::Html, .. })));
        let deep = [b"[".repeat(50), b"]".repeat(50)].concat();
        read(&deep).unwrap();
    }
}
