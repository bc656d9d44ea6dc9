//! One tensor of a mapped file.

use std::sync::Arc;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::{CheckpointError, MappedFile};

/// A tensor's bytes where they lie in the mapped file, little-endian and row-major. Cloning copies no data, and every
/// clone keeps the mapping alive.
///
/// The bytes start where the file puts them: a file whose header length is odd leaves them unaligned, so whoever wants a
/// typed slice has to check the address.
#[derive(Clone, Debug)]
pub struct MappedTensor {
    pub(crate) file: Arc<MappedFile>,
    pub(crate) name: Arc<str>,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Arc<[usize]>,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl MappedTensor {
    /// The name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element type as stored.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Sizes from the slowest to the fastest dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &[u8] {
        &(*self.file).as_ref()[self.start..self.start + self.len]
    }

    /// The file that holds it.
    pub fn file(&self) -> &Arc<MappedFile> {
        &self.file
    }

    /// Gives the memory of the bytes back to the system: for a tensor that was read for the last time. They can still be
    /// read, from the file again.
    pub fn release(&self) {
        self.file.release(self.start, self.len);
    }

    /// The values in f32, from any floating type (f64 is rounded).
    ///
    /// # Errors
    /// [`CheckpointError::NotFloat`] for integers and packed types, [`CheckpointError::OutOfMemory`].
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        let mut values = Vec::new();
        values.try_reserve_exact(self.len()).map_err(|_| CheckpointError::OutOfMemory {
            path: self.file.path().to_owned(),
            tensor: self.name.to_string(),
            bytes: self.len() * 4,
        })?;
        match self.dtype {
            Dtype::F64 => values.extend(self.elements().map(|b| f64::from_le_bytes(b) as f32)),
            Dtype::F32 => values.extend(self.elements().map(f32::from_le_bytes)),
            Dtype::F16 => values.extend(self.elements().map(|b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => values.extend(self.elements().map(|b| bf16::from_le_bytes(b).to_f32())),
            dtype => {
                return Err(CheckpointError::NotFloat {
                    path: self.file.path().to_owned(),
                    tensor: self.name.to_string(),
                    dtype,
                });
            }
        }
        Ok(values)
    }

    fn elements<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> {
        self.bytes().as_chunks::<N>().0.iter().copied()
    }
}

impl AsRef<[u8]> for MappedTensor {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
