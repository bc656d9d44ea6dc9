//! One safetensors file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::header::{Header, Placement};
use crate::writer::Plan;
use crate::{CheckpointError, MappedFile, MappedTensor, TensorSpec};

/// A mapped safetensors file with a checked header. Opening reads the header only; data is read when it is touched.
#[derive(Debug)]
pub struct SafetensorsFile {
    file: Arc<MappedFile>,
    header: Header,
}

impl SafetensorsFile {
    /// Maps `path` and checks its header against the file's length.
    ///
    /// # Errors
    /// Those of [`MappedFile::open`]; [`CheckpointError::Foreign`] for a pickle, a Git LFS pointer or a web page;
    /// [`CheckpointError::HeaderLength`], [`CheckpointError::Header`], [`CheckpointError::Tensor`] and
    /// [`CheckpointError::DataLength`] for a file that contradicts itself.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let file = MappedFile::open(path)?;
        let header = Header::parse(file.path(), file.as_ref())?;
        Ok(Self { file: Arc::new(file), header })
    }

    /// Tensors that another format holds, as if they had been read from a file of this one. `path` is the file that they
    /// were made of, and names them in errors.
    ///
    /// # Errors
    /// [`CheckpointError::Unwritable`] for duplicate names and for data whose length is not shape x dtype, and those of `data`.
    pub fn in_memory<'d, E: From<CheckpointError>>(
        path: impl Into<PathBuf>,
        tensors: &[TensorSpec],
        data: impl FnMut(&TensorSpec) -> Result<Cow<'d, [u8]>, E>,
    ) -> Result<Self, E> {
        let (path, mut bytes) = (path.into(), Vec::new());
        Plan::new(&path, tensors, &[])?.write(&path, &mut bytes, data)?;
        let header = Header::parse(&path, &bytes)?;
        Ok(Self { file: Arc::new(MappedFile::made(path, bytes)), header })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The mapped file.
    pub fn file(&self) -> &Arc<MappedFile> {
        &self.file
    }

    /// The header's `__metadata__`, for example `{"format": "pt"}`; empty if there is none.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Names of all tensors in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.header.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.header.tensors.is_empty()
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<MappedTensor> {
        let (name, placement) = self.header.tensors.get_key_value(name)?;
        Some(self.tensor(name, placement))
    }

    /// All tensors in alphabetical order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = MappedTensor> {
        self.header.tensors.iter().map(|(name, placement)| self.tensor(name, placement))
    }

    fn tensor(&self, name: &str, placement: &Placement) -> MappedTensor {
        MappedTensor {
            file: self.file.clone(),
            name: name.into(),
            dtype: placement.dtype,
            shape: placement.shape.as_slice().into(),
            start: placement.start,
            len: placement.len,
        }
    }
}
