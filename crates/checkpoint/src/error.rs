//! What can be wrong with files, in words that say which file and what to do.

use std::path::PathBuf;

use safetensors::Dtype;

use crate::{Foreign, Quoted};

/// Errors of reading and writing checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `write`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A directory, pipe or device where a file is needed.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// A file of no bytes.
    #[error("{} is empty (0 bytes); fetch it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Something else under the name of weights.
    #[error("{} is {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is; its text says what to do.
        what: Foreign,
    },
    /// A mapped file became shorter.
    #[error("{} was shortened while in use: {mapped} bytes were mapped and {now} are left; stop whatever writes to it and start again", path.display())]
    Shortened {
        /// The file.
        path: PathBuf,
        /// Bytes at the time of mapping.
        mapped: u64,
        /// Bytes now.
        now: u64,
    },
    /// A safetensors header that does not fit its file or the format's limit.
    #[error("{} announces a header of {header} bytes, but {reason}; it is truncated or not safetensors: fetch it again", path.display())]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// The announced length.
        header: u64,
        /// Which bound it breaks.
        reason: String,
    },
    /// A safetensors header that cannot be read.
    #[error("{}: the safetensors header is broken at byte {position}: {reason}; fetch the file again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Offset from the start of the file.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// One entry of a safetensors header contradicts itself or the file.
    #[error("{}: tensor {}: {reason}; fetch the file again", path.display(), Quoted(tensor))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Expected and got.
        reason: String,
    },
    /// A GGUF file that contradicts itself, or of a kind that is not read.
    #[error("{}: broken as GGUF at byte {position}: {reason}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Offset from the start of the file.
        position: usize,
        /// Expected and got.
        reason: String,
    },
    /// The data is longer or shorter than its header says.
    #[error("{}: the header describes {expected} bytes of data and the file holds {got}; it is truncated or was appended to: fetch it again", path.display())]
    DataLength {
        /// The file.
        path: PathBuf,
        /// By the header.
        expected: u64,
        /// In the file.
        got: u64,
    },
    /// A tensor of numbers that are not floating point where such are needed.
    #[error("{}: tensor {} holds {dtype}; F64, F32, F16 or BF16 is needed", path.display(), Quoted(tensor))]
    NotFloat {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// As stored.
        dtype: Dtype,
    },
    /// The values of a tensor do not fit into memory.
    #[error("{}: tensor {} needs {bytes} bytes of memory, which are not to be had", path.display(), Quoted(tensor))]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Bytes asked for.
        bytes: usize,
    },
    /// A JSON file that cannot be read.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A text file far larger than any real one.
    #[error("{} holds {bytes} bytes; at most {limit} are read from such a file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A directory without weights.
    #[error("{} holds no {expected}{hint}", dir.display())]
    NoWeights {
        /// The directory.
        dir: PathBuf,
        /// File names that would have done.
        expected: &'static str,
        /// What is there instead, and what to do.
        hint: String,
    },
    /// An index entry that is not a plain file name inside the directory.
    #[error("{}: tensor {} is mapped to {}, which {reason}; shards are plain file names ending in .safetensors beside the index", index.display(), Quoted(tensor), Quoted(entry))]
    ShardName {
        /// The index file.
        index: PathBuf,
        /// The tensor whose entry it is.
        tensor: String,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A shard that the index names and the directory lacks.
    #[error("{}: shard {} is missing; fetch the model again", index.display(), Quoted(shard))]
    ShardMissing {
        /// The index file.
        index: PathBuf,
        /// The shard.
        shard: String,
    },
    /// A shard without a tensor that the index promises.
    #[error("{}: shard {} lacks tensor {}; index and shards are from different models", index.display(), Quoted(shard), Quoted(tensor))]
    ShardLacksTensor {
        /// The index file.
        index: PathBuf,
        /// The shard.
        shard: String,
        /// The tensor.
        tensor: String,
    },
    /// Two shards hold a tensor of the same name.
    #[error("{}: tensor {} is in two shards, {} and {}; shards of different models are mixed", index.display(), Quoted(tensor), Quoted(first), Quoted(second))]
    TensorInTwoShards {
        /// The index file.
        index: PathBuf,
        /// The tensor.
        tensor: String,
        /// One shard.
        first: String,
        /// The other.
        second: String,
    },
    /// What is to be written contradicts itself.
    #[error("cannot write {}: tensor {}: {reason}", path.display(), Quoted(tensor))]
    Unwritable {
        /// The file to be written.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Expected and got.
        reason: String,
    },
    /// A directory whose manifest is missing, unreadable or contradicted by its files.
    #[error("{} is not a complete checkpoint: {reason}; use an older one", dir.display())]
    Manifest {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
