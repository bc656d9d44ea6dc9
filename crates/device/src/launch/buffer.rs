//! Memory of an executor.

use bytemuck::Pod;

use super::{Executor, Kind};
use crate::{DType, DeviceError};

/// Bytes on a device, freed when dropped.
#[derive(Debug)]
pub struct DeviceBuffer {
    executor: Executor,
    memory: Memory,
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) address: u64,
    pub(super) len: usize,
}

impl DeviceBuffer {
    pub(super) fn new(executor: Executor, memory: Memory) -> Self {
        Self { executor, memory }
    }

    /// Where the buffer lies: what a parameter struct holds. Of an empty buffer, an address that nothing may read.
    pub fn address(&self) -> u64 {
        self.memory.address
    }

    /// Its length.
    pub fn len_bytes(&self) -> usize {
        self.memory.len
    }

    /// Whether the buffer holds exactly `expected` elements of `dtype`.
    ///
    /// # Errors
    /// The number of elements it holds whole.
    pub fn expect_elements(&self, dtype: DType, expected: usize) -> Result<(), usize> {
        let fits = expected.checked_mul(dtype.size_bytes()) == Some(self.memory.len);
        if fits { Ok(()) } else { Err(self.memory.len / dtype.size_bytes()) }
    }

    /// The device it lies on.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Copies `values` into the buffer.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if they are not exactly as long, [`DeviceError::Driver`] if the copy fails.
    pub fn write<T: Pod>(&mut self, values: &[T]) -> Result<(), DeviceError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if bytes.len() != self.memory.len {
            return Err(DeviceError::BufferLength { buffer: self.memory.len, host: bytes.len() });
        }
        match &self.executor.0 {
            Kind::Cuda(cuda) => cuda.write(self.memory, bytes),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.write(self.memory, bytes);
                Ok(())
            }
        }
    }

    /// Waits for what was started and copies the buffer out.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if the buffer does not hold whole elements, [`DeviceError::Driver`] if the copy, or a
    /// launch before it, fails.
    pub fn read<T: Pod>(&self) -> Result<Vec<T>, DeviceError> {
        let count = self.memory.len / size_of::<T>();
        if count * size_of::<T>() != self.memory.len {
            return Err(DeviceError::BufferLength { buffer: self.memory.len, host: count * size_of::<T>() });
        }
        let mut values = vec![T::zeroed(); count];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        match &self.executor.0 {
            Kind::Cuda(cuda) => cuda.read(self.memory, bytes)?,
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.read(self.memory, bytes),
        }
        Ok(values)
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        match &self.executor.0 {
            Kind::Cuda(cuda) => cuda.free(self.memory),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.free(self.memory),
        }
    }
}
