//! Elements of one dtype, on the host or on a device.

use std::borrow::Cow;

use crate::block::HostBlock;
use crate::launch::{DeviceBuffer, Executor};
use crate::{DType, Device, DeviceError, Element, Elements, ElementsMut};

/// Elements of one dtype on one device. Dropping it returns the memory to the [`pool`](crate::pool), or to that of its executor.
///
/// The accessors of elements are for buffers of the CPU; on another device they are errors, never a copy.
pub struct Buffer {
    place: Place,
    dtype: DType,
    len: usize,
}

enum Place {
    Host(HostBlock),
    Device(DeviceBuffer),
}

impl Buffer {
    /// `len` elements whose values are unspecified (zero, or what an earlier buffer held): for results that are
    /// overwritten in full.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`]; [`DeviceError::Unavailable`] for a device that this machine or build lacks.
    pub fn scratch(device: Device, dtype: DType, len: usize) -> Result<Self, DeviceError> {
        let bytes = len
            .checked_mul(dtype.size_bytes())
            .ok_or_else(|| DeviceError::OutOfMemory { device: device.to_string(), bytes: usize::MAX })?;
        let place = match device {
            // Even an empty buffer has a block, so that its start is aligned for every element type.
            Device::Cpu => Place::Host(HostBlock::take(bytes)?),
            _ => Place::Device(Executor::for_device(device)?.allocate(bytes)?),
        };
        Ok(Self { place, dtype, len })
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// As [`Buffer::scratch`]; [`DeviceError::Driver`].
    pub fn zeroed(device: Device, dtype: DType, len: usize) -> Result<Self, DeviceError> {
        let mut buffer = Self::scratch(device, dtype, len)?;
        buffer.zero()?;
        Ok(buffer)
    }

    /// A copy of `values` in f32.
    ///
    /// # Errors
    /// As [`Buffer::zeroed`].
    pub fn from_f32(device: Device, values: &[f32]) -> Result<Self, DeviceError> {
        if device != Device::Cpu {
            return Self::on_device(Executor::for_device(device)?.upload(values)?, DType::F32);
        }
        let mut buffer = Self::scratch(device, DType::F32, values.len())?;
        buffer.f32_mut()?.copy_from_slice(values);
        Ok(buffer)
    }

    /// Elements of `dtype` that fill `memory`.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if its length is no multiple of an element's.
    pub fn on_device(memory: DeviceBuffer, dtype: DType) -> Result<Self, DeviceError> {
        let len = memory.len_bytes() / dtype.size_bytes();
        let whole = len * dtype.size_bytes();
        if whole != memory.len_bytes() {
            return Err(DeviceError::BufferLength { buffer: memory.len_bytes(), host: whole });
        }
        Ok(Self { place: Place::Device(memory), dtype, len })
    }

    /// Sets every element to zero.
    ///
    /// # Errors
    /// [`DeviceError::Driver`]; none on the CPU.
    pub fn zero(&mut self) -> Result<(), DeviceError> {
        match &mut self.place {
            Place::Host(_) => self.bytes_mut().fill(0),
            Place::Device(memory) => memory.zero()?,
        }
        Ok(())
    }

    /// Replaces the elements from `start` on.
    ///
    /// # Errors
    /// [`DeviceError::DType`] unless it holds f32; [`DeviceError::Driver`].
    ///
    /// # Panics
    /// If there are not as many elements, as slicing does.
    pub fn write_f32(&mut self, start: usize, values: &[f32]) -> Result<(), DeviceError> {
        let elements = start..start + values.len();
        match &self.place {
            Place::Host(_) => self.f32_mut()?[elements].copy_from_slice(values),
            Place::Device(_) if self.dtype != DType::F32 => {
                return Err(DeviceError::DType { expected: DType::F32, got: self.dtype });
            }
            Place::Device(memory) => memory.view(elements.start * 4..elements.end * 4).write(values)?,
        }
        Ok(())
    }

    /// The elements as f32: themselves on the CPU, a copy from another device, for which this waits.
    ///
    /// # Errors
    /// [`DeviceError::DType`] if it holds another type; [`DeviceError::Driver`] if something that was started failed.
    pub fn read_f32(&self) -> Result<Cow<'_, [f32]>, DeviceError> {
        match &self.place {
            Place::Host(_) => Ok(Cow::Borrowed(self.f32()?)),
            Place::Device(_) if self.dtype != DType::F32 => {
                Err(DeviceError::DType { expected: DType::F32, got: self.dtype })
            }
            Place::Device(memory) => Ok(Cow::Owned(memory.read()?)),
        }
    }

    /// A copy on the CPU. On another device this waits for what was started.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`]; [`DeviceError::Driver`] if something that was started failed.
    pub fn to_host(&self) -> Result<Self, DeviceError> {
        let mut copy = Self::scratch(Device::Cpu, self.dtype, self.len)?;
        match &self.place {
            Place::Host(_) => copy.bytes_mut().copy_from_slice(self.bytes()),
            Place::Device(memory) => memory.read_into(copy.bytes_mut())?,
        }
        Ok(copy)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        match &self.place {
            Place::Host(_) => Device::Cpu,
            Place::Device(memory) => memory.executor().device(),
        }
    }

    /// Its memory on a device that runs kernels.
    ///
    /// # Errors
    /// [`DeviceError::NoKernels`] on the CPU.
    pub fn memory(&self) -> Result<&DeviceBuffer, DeviceError> {
        match &self.place {
            Place::Host(_) => Err(DeviceError::NoKernels),
            Place::Device(memory) => Ok(memory),
        }
    }

    /// The same, to write.
    ///
    /// # Errors
    /// [`DeviceError::NoKernels`] on the CPU.
    pub fn memory_mut(&mut self) -> Result<&mut DeviceBuffer, DeviceError> {
        match &mut self.place {
            Place::Host(_) => Err(DeviceError::NoKernels),
            Place::Device(memory) => Ok(memory),
        }
    }

    /// The elements as `T`.
    ///
    /// # Errors
    /// [`DeviceError::DType`] if it holds another type, [`DeviceError::NotOnHost`] if it is on another device than the CPU.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], DeviceError> {
        self.expect(T::DTYPE)?;
        Ok(bytemuck::cast_slice(self.bytes()))
    }

    /// The elements as mutable `T`.
    ///
    /// # Errors
    /// As [`Buffer::as_slice`].
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], DeviceError> {
        self.expect(T::DTYPE)?;
        Ok(bytemuck::cast_slice_mut(self.bytes_mut()))
    }

    /// [`Buffer::as_slice`] of f32.
    ///
    /// # Errors
    /// As [`Buffer::as_slice`].
    pub fn f32(&self) -> Result<&[f32], DeviceError> {
        self.as_slice()
    }

    /// [`Buffer::as_mut_slice`] of f32.
    ///
    /// # Errors
    /// As [`Buffer::as_slice`].
    pub fn f32_mut(&mut self) -> Result<&mut [f32], DeviceError> {
        self.as_mut_slice()
    }

    /// The elements with their type.
    ///
    /// # Errors
    /// [`DeviceError::NotOnHost`] if it is on another device than the CPU.
    pub fn elements(&self) -> Result<Elements<'_>, DeviceError> {
        self.expect(self.dtype)?;
        Ok(match self.dtype {
            DType::F32 => Elements::F32(bytemuck::cast_slice(self.bytes())),
            DType::BF16 => Elements::BF16(bytemuck::cast_slice(self.bytes())),
            DType::F16 => Elements::F16(bytemuck::cast_slice(self.bytes())),
        })
    }

    /// The elements, to write, with their type.
    ///
    /// # Errors
    /// As [`Buffer::elements`].
    pub fn elements_mut(&mut self) -> Result<ElementsMut<'_>, DeviceError> {
        self.expect(self.dtype)?;
        Ok(match self.dtype {
            DType::F32 => ElementsMut::F32(bytemuck::cast_slice_mut(self.bytes_mut())),
            DType::BF16 => ElementsMut::BF16(bytemuck::cast_slice_mut(self.bytes_mut())),
            DType::F16 => ElementsMut::F16(bytemuck::cast_slice_mut(self.bytes_mut())),
        })
    }

    /// Fails unless the elements are there to be read as `expected`.
    fn expect(&self, expected: DType) -> Result<(), DeviceError> {
        match &self.place {
            Place::Device(memory) => Err(DeviceError::NotOnHost { device: memory.executor().device() }),
            Place::Host(_) if expected != self.dtype => Err(DeviceError::DType { expected, got: self.dtype }),
            Place::Host(_) => Ok(()),
        }
    }

    /// The bytes on the CPU, none elsewhere.
    fn bytes(&self) -> &[u8] {
        match &self.place {
            Place::Host(block) => &block.bytes()[..self.len * self.dtype.size_bytes()],
            Place::Device(_) => &[],
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.place {
            Place::Host(block) => &mut block.bytes_mut()[..self.len * self.dtype.size_bytes()],
            Place::Device(_) => &mut [],
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} x {} on {})", self.len, self.dtype, self.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused_and_aligned() {
        // A size that no other test of this process asks for.
        let len = 1_234_567;
        let address = {
            let buffer = Buffer::zeroed(Device::Cpu, DType::F32, len).unwrap();
            assert!(buffer.f32().unwrap().iter().all(|&x| x == 0.0));
            buffer.f32().unwrap().as_ptr() as usize
        };
        assert_eq!(address % 64, 0, "not at the start of a cache line");
        let again = Buffer::scratch(Device::Cpu, DType::F32, len).unwrap();
        assert_eq!(again.f32().unwrap().as_ptr() as usize, address);
        assert!(matches!(again.as_slice::<half::bf16>(), Err(DeviceError::DType { .. })));
    }

    #[test]
    fn empty_and_impossible_sizes() {
        assert!(Buffer::zeroed(Device::Cpu, DType::F32, 0).unwrap().f32().unwrap().is_empty());
        assert!(matches!(Buffer::scratch(Device::Cpu, DType::F32, usize::MAX), Err(DeviceError::OutOfMemory { .. })));
        assert!(matches!(Buffer::scratch(Device::Cpu, DType::F32, 1 << 58), Err(DeviceError::OutOfMemory { .. })));
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn elements_on_a_device_are_copied_and_never_borrowed() {
        let mut buffer = Buffer::from_f32(Device::Emulated, &[1.0, 2.0]).unwrap();
        assert_eq!((buffer.device(), buffer.len()), (Device::Emulated, 2));
        assert_eq!(buffer.to_host().unwrap().f32().unwrap(), [1.0, 2.0]);
        for refused in [buffer.f32().err(), buffer.elements().err()] {
            assert!(matches!(refused, Some(DeviceError::NotOnHost { device: Device::Emulated })));
        }
        buffer.write_f32(1, &[3.0]).unwrap();
        assert_eq!(buffer.read_f32().unwrap(), &[1.0, 3.0][..]);
        buffer.zero().unwrap();
        assert_eq!(buffer.memory().unwrap().read::<f32>().unwrap(), [0.0; 2]);
        assert!(matches!(Buffer::zeroed(Device::Cpu, DType::F32, 1).unwrap().memory(), Err(DeviceError::NoKernels)));
    }
}
