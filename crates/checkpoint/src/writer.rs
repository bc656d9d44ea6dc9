//! Safetensors files, written one tensor at a time.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::atomic::{AtomicFile, io_error};
use crate::header::{MAX_HEADER, size_bytes};
use crate::{CheckpointError, Fs};

/// Small tensors are gathered into writes of this size.
const BUFFER: usize = 1 << 20;

/// A tensor to be written: what the header says before the data is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name in the file.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// Sizes from the slowest to the fastest dimension.
    pub shape: Vec<usize>,
}

/// Writes a safetensors file atomically (see [`atomic_write`](crate::atomic_write)), byte for byte as the reference
/// implementation and so Python does: `__metadata__` first, tensors by dtype from the widest and then by name, the header
/// padded with spaces to a multiple of 8.
///
/// `data` is asked for one tensor at a time, in the order of the file, so no more than one has to be in memory.
///
/// # Errors
/// [`CheckpointError::Unwritable`] for duplicate names and for data whose length is not shape x dtype,
/// [`CheckpointError::Io`], and those of `data`.
pub fn write_safetensors<'d, E: From<CheckpointError>>(
    fs: &dyn Fs,
    path: &Path,
    tensors: &[TensorSpec],
    metadata: &[(&str, &str)],
    data: impl FnMut(&TensorSpec) -> Result<Cow<'d, [u8]>, E>,
) -> Result<(), E> {
    let plan = Plan::new(path, tensors, metadata)?;
    let mut file = AtomicFile::create(fs, path)?;
    plan.write(path, &mut file, data)?;
    Ok(file.commit()?)
}

/// A header and the order of the data after it.
pub(crate) struct Plan<'a> {
    header: Vec<u8>,
    tensors: Vec<(&'a TensorSpec, TensorInfo)>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        path: &Path,
        tensors: &'a [TensorSpec],
        metadata: &[(&str, &str)],
    ) -> Result<Self, CheckpointError> {
        let wrong = |tensor: &TensorSpec, reason: String| CheckpointError::Unwritable {
            path: path.to_owned(),
            tensor: tensor.name.clone(),
            reason,
        };
        let mut in_order: Vec<&TensorSpec> = tensors.iter().collect();
        in_order.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
        let mut names: Vec<&str> = in_order.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        let mut placed = Vec::with_capacity(in_order.len());
        let mut start = 0usize;
        for tensor in in_order {
            let first = names.partition_point(|name| *name < tensor.name.as_str());
            if tensor.name == "__metadata__" || names.get(first + 1) == Some(&tensor.name.as_str()) {
                return Err(wrong(tensor, "the name is taken".to_owned()));
            }
            let mut info =
                TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets: (start, start) };
            let end = size_bytes(&info).map_err(|reason| wrong(tensor, reason))?.checked_add(start);
            info.data_offsets.1 = end.ok_or_else(|| wrong(tensor, "the file would exceed 2^64 bytes".to_owned()))?;
            start = info.data_offsets.1;
            placed.push((tensor, info));
        }
        let mut header = serde_json::to_vec(&HeaderJson { metadata, tensors: &placed })
            .map_err(|source| io_error("write", path, source.into()))?;
        header.resize(header.len().next_multiple_of(8), b' ');
        if header.len() as u64 > MAX_HEADER {
            let reason = format!("the header has {} bytes and the format allows {MAX_HEADER}", header.len());
            return Err(io_error("write", path, std::io::Error::other(reason)));
        }
        Ok(Self { header, tensors: placed })
    }

    pub(crate) fn write<'d, E: From<CheckpointError>>(
        &self,
        path: &Path,
        sink: &mut dyn Write,
        mut data: impl FnMut(&TensorSpec) -> Result<Cow<'d, [u8]>, E>,
    ) -> Result<(), E> {
        let failed = |source| io_error("write", path, source);
        let mut sink = BufWriter::with_capacity(BUFFER, sink);
        sink.write_all(&(self.header.len() as u64).to_le_bytes()).map_err(failed)?;
        sink.write_all(&self.header).map_err(failed)?;
        for (tensor, info) in &self.tensors {
            let bytes = data(tensor)?;
            let expected = info.data_offsets.1 - info.data_offsets.0;
            if bytes.len() != expected {
                let TensorSpec { dtype, shape, .. } = tensor;
                return Err(E::from(CheckpointError::Unwritable {
                    path: path.to_owned(),
                    tensor: tensor.name.clone(),
                    reason: format!("{dtype} of shape {shape:?} takes {expected} bytes, got {}", bytes.len()),
                }));
            }
            sink.write_all(&bytes).map_err(failed)?;
        }
        Ok(sink.flush().map_err(failed)?)
    }
}

struct HeaderJson<'a> {
    metadata: &'a [(&'a str, &'a str)],
    tensors: &'a [(&'a TensorSpec, TensorInfo)],
}

impl Serialize for HeaderJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            let metadata: std::collections::BTreeMap<_, _> = self.metadata.iter().copied().collect();
            map.serialize_entry("__metadata__", &metadata)?;
        }
        for (tensor, info) in self.tensors {
            map.serialize_entry(&tensor.name, info)?;
        }
        map.end()
    }
}
