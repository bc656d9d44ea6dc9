//! GGUF, the files of llama.cpp, as far as adapters need it: floating-point tensors and metadata of single values.
//!
//! ```text
//! "GGUF" | u32 version | u64 number of tensors | u64 number of values
//! value:  string key | u32 type | data          string: u64 length | bytes
//! tensor: string name | u32 number of dimensions | u64 sizes, the fastest first | u32 type | u64 offset
//! padding to `general.alignment` (32) | data, each tensor aligned
//! ```
//! All numbers are little-endian. Source: the GGUF specification in ggml's `docs/gguf.md`, version 3.

mod reader;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::{CheckpointError, Dtype, MappedFile, MappedTensor};

pub use writer::{GgufTensor, gguf_bytes};

const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written; the one before differs in nothing that is used here.
const VERSION: u32 = 3;
const ALIGNMENT: usize = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
/// No tensor of llama.cpp has more dimensions.
const MAX_DIMENSIONS: u32 = 4;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// An integer of any width without a sign.
    Unsigned(u64),
    /// An integer of any width with a sign.
    Signed(i64),
    /// A number of 32 or 64 bits; it is written with 32.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8.
    String(String),
    /// The number of elements of an array. They are not kept, and no array is written.
    Array(u64),
}

impl GgufValue {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Bool(_) | Self::String(_) | Self::Array(_) => None,
        }
    }
}

/// A mapped GGUF file with a checked header.
#[derive(Debug)]
pub struct GgufFile {
    file: Arc<MappedFile>,
    metadata: BTreeMap<String, GgufValue>,
    tensors: Vec<MappedTensor>,
}

impl GgufFile {
    /// Maps `path` and checks its header against the file's length.
    ///
    /// # Errors
    /// Those of [`MappedFile::open`]; [`CheckpointError::Gguf`] for a file that contradicts itself, of another version or byte
    /// order, or with tensors that are not of floating point.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = Arc::new(MappedFile::open(path)?);
        let header = reader::Header::parse(path, (*file).as_ref())?;
        let tensors = header.tensors.into_iter().map(|tensor| MappedTensor {
            file: Arc::clone(&file),
            name: tensor.name.into(),
            dtype: tensor.dtype,
            shape: tensor.shape.into(),
            start: tensor.start,
            len: tensor.len,
        });
        Ok(Self { tensors: tensors.collect(), metadata: header.metadata, file })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its metadata by key.
    pub fn metadata(&self) -> &BTreeMap<String, GgufValue> {
        &self.metadata
    }

    /// Its tensors in the order of the file, sizes from the slowest to the fastest dimension as everywhere else.
    pub fn tensors(&self) -> &[MappedTensor] {
        &self.tensors
    }
}

/// ggml's number of a type of elements.
fn type_number(dtype: Dtype) -> Option<u32> {
    TYPES.iter().find(|(_, known)| *known == dtype).map(|(number, _)| *number)
}

/// The types that are no blocks of codes, by ggml's numbers.
const TYPES: [(u32, Dtype); 4] = [(0, Dtype::F32), (1, Dtype::F16), (28, Dtype::F64), (30, Dtype::BF16)];
