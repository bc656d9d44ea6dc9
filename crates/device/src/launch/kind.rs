//! What both executors can do.

use super::buffer::Memory;
#[cfg(feature = "emulator")]
use super::emulated::{self, Emulated};
use super::{Architecture, Grid, Kernel, TensorMap, TiledMatrix, cuda::Cuda};
use crate::{Device, DeviceError};

#[derive(Debug)]
pub(super) enum Kind {
    Cuda(Cuda),
    #[cfg(feature = "emulator")]
    Emulated(Emulated),
}

impl Kind {
    pub(super) fn device(&self) -> Device {
        match self {
            Kind::Cuda(cuda) => Device::Cuda(cuda.ordinal()),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Device::Emulated,
        }
    }

    pub(super) fn architecture(&self) -> Architecture {
        match self {
            Kind::Cuda(cuda) => cuda.architecture(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.architecture(),
        }
    }

    pub(super) fn multiprocessors(&self) -> u32 {
        match self {
            Kind::Cuda(cuda) => cuda.multiprocessors(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => emulated::MULTIPROCESSORS,
        }
    }

    pub(super) fn tensor_map(&self, address: u64, matrix: TiledMatrix) -> Result<TensorMap, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.tensor_map(address, matrix),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(emulated::tensor_map(address, matrix)),
        }
    }

    /// A new block.
    pub(super) fn allocate(&self, capacity: usize) -> Result<u64, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.allocate(capacity),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.allocate(capacity),
        }
    }

    /// Makes the first `len` bytes of a block memory that nothing was written to.
    pub(super) fn prepare(&self, address: u64, len: usize) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.prepare(address, len),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.prepare(address, len);
                Ok(())
            }
        }
    }

    /// Gives a block back to the device.
    pub(super) fn free(&self, address: u64) {
        match self {
            Kind::Cuda(cuda) => cuda.free(address),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.free(address),
        }
    }

    pub(super) fn write(&self, to: Memory, bytes: &[u8]) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.write(to, bytes),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.write(to, bytes);
                Ok(())
            }
        }
    }

    pub(super) fn read(&self, from: Memory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.read(from, bytes),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.read(from, bytes);
                Ok(())
            }
        }
    }

    pub(super) fn zero(&self, memory: Memory) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.zero(memory),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.write(memory, &vec![0; memory.len]);
                Ok(())
            }
        }
    }

    pub(super) fn copy(&self, from: Memory, to: Memory) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.copy(from, to),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                let mut bytes = vec![0; from.len];
                emulated.read(from, &mut bytes);
                emulated.write(to, &bytes);
                Ok(())
            }
        }
    }

    /// # Safety
    /// As [`super::Executor::launch`], with `params` the bytes of the struct that the kernel takes.
    pub(super) unsafe fn launch<P>(&self, kernel: &Kernel<P>, grid: Grid, params: &[u8]) -> Result<(), DeviceError> {
        match self {
            // SAFETY: the caller's promise.
            Kind::Cuda(cuda) => unsafe { cuda.launch(kernel, grid, params) },
            #[cfg(feature = "emulator")]
            // SAFETY: as above.
            Kind::Emulated(emulated) => unsafe { emulated.launch(kernel, grid, params) },
        }
    }

    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.synchronize(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(()),
        }
    }
}
