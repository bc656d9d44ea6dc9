//! Elements from one device to another.

use device::launch::{DeviceBuffer, Staging};
use device::{Buffer, DType, Device, DeviceError};

use super::Tensor;
use crate::convert::convert;
use crate::{Result, TensorError};

impl Tensor {
    /// The same elements on the CPU, without history if they have to be copied. Copying waits for everything that was started.
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory, or if something that was started failed.
    pub fn to_host(&self) -> Result<Self> {
        match self.device() {
            Device::Cpu => Ok(self.clone()),
            _ => Self::new(self.0.shape, self.0.storage.to_host(self.count())?),
        }
    }

    /// The elements as a constant in `dtype` on `device`: how a frozen weight comes to a GPU. On the CPU, elements in their own
    /// dtype.
    ///
    /// # Errors
    /// [`TensorError::Device`] for a device that is not there, without memory, and if the copy fails;
    /// [`TensorError::Kernel`] for a dtype that no kernel computes in.
    pub fn to_device(&self, device: Device, dtype: DType) -> Result<Self> {
        match device {
            Device::Cpu => Ok(self.to_host()?.detach()),
            _ => self.copied(device, dtype, |bytes, memory| memory.write(bytes)),
        }
    }

    /// As [`Tensor::to_device`], through page-locked memory: the elements are read, from a mapped file perhaps, while those
    /// before them are on their way.
    ///
    /// # Errors
    /// As [`Tensor::to_device`].
    pub fn to_device_through(&self, staging: &mut Staging, dtype: DType) -> Result<Self> {
        self.copied(staging.device(), dtype, |bytes, memory| staging.upload(bytes, memory))
    }

    /// A copy on `device`, which runs kernels, by `copy`.
    fn copied(
        &self,
        device: Device,
        dtype: DType,
        copy: impl FnOnce(&[u8], &mut DeviceBuffer) -> Result<(), DeviceError>,
    ) -> Result<Self> {
        let host = self.to_host()?;
        let mut stored = Buffer::scratch(device, self.dtype(), self.count())?;
        copy(host.read().elements().as_bytes(), stored.memory_mut()?)?;
        if self.dtype() == dtype {
            return Self::new(self.0.shape, stored);
        }
        let mut converted = Buffer::scratch(device, dtype, self.count())?;
        convert(&stored, &mut converted, false)?;
        Self::new(self.0.shape, converted)
    }

    /// The elements in `dtype` for a kernel. Those of another type are converted and kept until the next change.
    ///
    /// # Errors
    /// [`TensorError::OnHost`] naming `op` and `argument` on the CPU; [`TensorError::Device`] without memory.
    pub(crate) fn on_device(&self, op: &'static str, argument: &'static str, dtype: DType) -> Result<DeviceBuffer> {
        match self.device() {
            Device::Cpu => Err(TensorError::OnHost { op, argument }),
            _ => self.0.storage.on_device(self.count(), dtype),
        }
    }
}
