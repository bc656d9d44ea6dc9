//! Bytes on the host or on a device.

use std::borrow::Cow;
use std::ops::Range;

use device::launch::{DeviceBuffer, Executor};
use device::{Device, DeviceError};

/// Bytes where the parameters are.
pub(in crate::run) enum Bytes {
    Host(Vec<u8>),
    Device(DeviceBuffer),
}

impl Bytes {
    /// `len` zeros on `device`.
    ///
    /// # Errors
    /// No memory; a device that fails.
    pub(super) fn zeroed(device: Device, len: usize) -> Result<Self, DeviceError> {
        if device == Device::Cpu {
            return Ok(Bytes::Host(vec![0; len]));
        }
        let mut memory = Executor::for_device(device)?.allocate(len)?;
        memory.zero()?;
        Ok(Bytes::Device(memory))
    }

    /// Those of `range`, to change on the host.
    ///
    /// # Errors
    /// [`DeviceError::NotOnHost`].
    pub(super) fn host_mut(&mut self, range: Range<usize>) -> Result<&mut [u8], DeviceError> {
        match self {
            Bytes::Host(bytes) => Ok(&mut bytes[range]),
            Bytes::Device(memory) => Err(DeviceError::NotOnHost { device: memory.executor().device() }),
        }
    }

    /// Those of `range`, for kernels.
    ///
    /// # Errors
    /// [`DeviceError::NoKernels`] on the CPU.
    pub(super) fn on_device(&self, range: Range<usize>) -> Result<DeviceBuffer, DeviceError> {
        match self {
            Bytes::Host(_) => Err(DeviceError::NoKernels),
            Bytes::Device(memory) => Ok(memory.view(range)),
        }
    }

    /// All of them; a copy from a device, for which this waits.
    ///
    /// # Errors
    /// A device that fails.
    pub(in crate::run) fn read(&self) -> Result<Cow<'_, [u8]>, DeviceError> {
        match self {
            Bytes::Host(bytes) => Ok(Cow::Borrowed(bytes)),
            Bytes::Device(memory) => Ok(Cow::Owned(memory.read()?)),
        }
    }

    /// Replaces those from `start` on.
    ///
    /// # Errors
    /// A device that fails.
    pub(in crate::run) fn write(&mut self, start: usize, values: &[u8]) -> Result<(), DeviceError> {
        let range = start..start + values.len();
        match self {
            Bytes::Host(bytes) => bytes[range].copy_from_slice(values),
            Bytes::Device(memory) => memory.view(range).write(values)?,
        }
        Ok(())
    }
}
