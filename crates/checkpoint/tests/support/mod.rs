//! Safetensors files put together by hand, right or wrong.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};

use tunesmith_checkpoint::{CheckpointError, SafetensorsFile};

/// A file with this header text and this much data.
pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Two f32 tensors, `a` of shape `[2]` and `b` of shape `[1, 3]`.
pub(crate) fn two_tensors() -> Vec<u8> {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,3],"data_offsets":[8,20]}}"#;
    let data: Vec<u8> = (1..=5u8).flat_map(|x| f32::from(x).to_le_bytes()).collect();
    file(header, &data)
}

/// A file in `dir` with this content.
pub(crate) fn put(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Opens `content` as a safetensors file.
pub(crate) fn open(content: &[u8]) -> Result<SafetensorsFile, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    SafetensorsFile::open(put(dir.path(), "model.safetensors", content))
}

/// The message of opening `content`, which must fail and name the file.
pub(crate) fn refusal(content: &[u8]) -> String {
    let message = open(content).expect_err("must be refused").to_string();
    assert!(message.contains("model.safetensors"), "no file named: {message}");
    message
}
