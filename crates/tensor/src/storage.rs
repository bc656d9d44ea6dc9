//! Where the elements of a tensor are: a part of a shared buffer, or frozen bytes of a mapped file.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use device::{Buffer, DType, Elements, SharedBytes};

use crate::{Result, TensorError};

/// A buffer that several tensors may view. Only an optimizer or a loader writes to it, between steps.
pub(crate) struct Memory(RwLock<Buffer>);

impl Memory {
    pub(crate) fn new(buffer: Buffer) -> Arc<Self> {
        Arc::new(Self(RwLock::new(buffer)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Buffer> {
        // A writer that panicked left numbers, not broken invariants.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on all elements, exclusively.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        let mut buffer = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(change(buffer.f32_mut()?))
    }
}

#[derive(Clone)]
pub(crate) enum Storage {
    Memory { memory: Arc<Memory>, start: usize, dtype: DType },
    Frozen { bytes: SharedBytes, dtype: DType },
}

impl Storage {
    pub(crate) fn own(buffer: Buffer) -> Self {
        let dtype = buffer.dtype();
        Storage::Memory { memory: Memory::new(buffer), start: 0, dtype }
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            Storage::Memory { dtype, .. } | Storage::Frozen { dtype, .. } => *dtype,
        }
    }

    /// A part of the elements, which has to be there.
    pub(crate) fn slice(&self, elements: Range<usize>) -> Self {
        match self {
            Storage::Memory { memory, start, dtype } => {
                Storage::Memory { memory: Arc::clone(memory), start: start + elements.start, dtype: *dtype }
            }
            Storage::Frozen { bytes, dtype } => {
                let size = dtype.size_bytes();
                let part = bytes.slice(elements.start * size, elements.len() * size);
                Storage::Frozen { bytes: part.expect("the caller has checked the range"), dtype: *dtype }
            }
        }
    }

    pub(crate) fn read(&self, len: usize) -> Read<'_> {
        match self {
            Storage::Memory { memory, start, .. } => Read(Source::Memory(memory.read(), *start, len)),
            Storage::Frozen { bytes, dtype } => Read(Source::Frozen(bytes.as_slice(), *dtype)),
        }
    }
}

/// Read access to a tensor's elements for as long as it lives.
pub struct Read<'a>(Source<'a>);

enum Source<'a> {
    Memory(RwLockReadGuard<'a, Buffer>, usize, usize),
    Frozen(&'a [u8], DType),
}

impl Read<'_> {
    /// The elements in the dtype they are stored in.
    pub fn elements(&self) -> Elements<'_> {
        match &self.0 {
            Source::Memory(buffer, start, len) => {
                buffer.elements().expect("the memory of a tensor is the CPU's").slice(*start, *len)
            }
            Source::Frozen(bytes, dtype) => {
                Elements::from_bytes(bytes, *dtype).expect("alignment was checked when the tensor was made")
            }
        }
    }

    /// The elements as f32.
    ///
    /// # Errors
    /// [`TensorError::DType`] naming `op` and `argument` if they are stored in another dtype.
    pub fn f32(&self, op: &'static str, argument: &'static str) -> Result<&[f32]> {
        match self.elements() {
            Elements::F32(slice) => Ok(slice),
            other => Err(TensorError::DType { op, argument, expected: DType::F32, got: other.dtype() }),
        }
    }
}
