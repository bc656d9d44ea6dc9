//! Scalars of a step, side by side where they were computed, to be read together or by a kernel.

use device::launch::DeviceBuffer;
use device::{Buffer, DType, Device};

use crate::{Result, Tensor};

/// Up to a fixed number of f32 scalars. Nothing waits for a device.
#[derive(Debug)]
pub struct Scalars {
    buffer: Buffer,
    len: usize,
}

impl Scalars {
    /// None yet, with room for `capacity`.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] for a device that is not there, and without memory.
    pub fn with_capacity(device: Device, capacity: usize) -> Result<Self> {
        Ok(Self { buffer: Buffer::scratch(device, DType::F32, capacity)?, len: 0 })
    }

    /// Adds the value of `scalar`.
    ///
    /// # Errors
    /// [`crate::TensorError::NotScalar`]; [`crate::TensorError::OnHost`] for one on the CPU among those of another device.
    ///
    /// # Panics
    /// If there is no room, as slicing does.
    pub fn push(&mut self, scalar: &Tensor) -> Result<()> {
        const OP: &str = "scalars";
        scalar.expect_scalar()?;
        match self.buffer.device() {
            Device::Cpu => self.buffer.f32_mut()?[self.len] = scalar.item()?,
            _ => {
                let size = DType::F32.size_bytes();
                let mut place = self.buffer.memory()?.view(self.len * size..(self.len + 1) * size);
                place.copy_from(&scalar.on_device(OP, "scalar", DType::F32)?)?;
            }
        }
        self.len += 1;
        Ok(())
    }

    /// The values on the CPU.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] on another device.
    pub fn values(&self) -> Result<&[f32]> {
        Ok(&self.buffer.f32()?[..self.len])
    }

    /// The values on a device that runs kernels.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] on the CPU.
    pub fn on_device(&self) -> Result<DeviceBuffer> {
        Ok(self.buffer.memory()?.view(0..self.len * DType::F32.size_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TensorError;

    #[test]
    fn scalars_lie_in_their_order() {
        let scalar = |value: f32| Tensor::from_f32([1], &[value]).unwrap();
        let mut scalars = Scalars::with_capacity(Device::Cpu, 3).unwrap();
        assert!(scalars.values().unwrap().is_empty());
        [2.0, 1.0].into_iter().for_each(|value| scalars.push(&scalar(value)).unwrap());
        assert_eq!(scalars.values().unwrap(), [2.0, 1.0]);
        let refused = scalars.push(&Tensor::from_f32([2], &[0.0; 2]).unwrap());
        assert!(matches!(refused, Err(TensorError::NotScalar { .. })));
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn scalars_of_a_device_stay_there() {
        let scalar =
            |value: f32| Tensor::from_f32([1], &[value]).unwrap().to_device(Device::Emulated, DType::F32).unwrap();
        let mut scalars = Scalars::with_capacity(Device::Emulated, 3).unwrap();
        [2.0, 1.0].into_iter().for_each(|value| scalars.push(&scalar(value)).unwrap());
        assert_eq!(scalars.on_device().unwrap().read::<f32>().unwrap(), [2.0, 1.0]);
        assert!(scalars.values().is_err());
    }
}
