//! Launching kernels: one function for a GPU and for the emulator.
//!
//! A kernel is written once, in `cuda/<family>/*.cu`. [`Executor::cuda`] runs it on a GPU; [`Executor::emulated`] (feature
//! `emulator`) runs the same source thread by thread on the host and finds faults that hardware lets pass. A kernel takes
//! one parameter struct, written in `cuda/<family>/params.h` and generated for Rust; buffers appear in it by address.
//!
//! | concept | here |
//! |---|---|
//! | where kernels run | [`Executor`] |
//! | memory there | [`DeviceBuffer`] |
//! | a kernel, typed by its parameters | [`Kernel`], [`Image`] |
//! | how many threads | [`Grid`] |

mod architecture;
mod buffer;
mod cuda;
#[cfg(feature = "emulator")]
mod emulated;
mod grid;
mod kernel;
mod tensor_map;
#[cfg(feature = "emulator")]
pub mod testing;

use std::sync::Arc;

use bytemuck::Pod;

use crate::DeviceError;

pub use architecture::Architecture;
pub use buffer::DeviceBuffer;
pub use grid::Grid;
pub use kernel::{Built, HostFunction, Image, Kernel};
pub use tensor_map::{TensorMap, TiledMatrix};

/// Every byte of memory that was not written, on the emulator and in tests: as f32, bf16 and f16 that is NaN.
const POISON: u8 = 0xff;

/// Where kernels run. Clones share one device; launches and copies happen in the order of the calls.
#[derive(Clone, Debug)]
pub struct Executor(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Cuda(Arc<cuda::Cuda>),
    #[cfg(feature = "emulator")]
    Emulated(Arc<emulated::Emulated>),
}

impl Executor {
    /// The GPU `ordinal`, as in `cuda:N`.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] where there is no driver or no such GPU, [`DeviceError::Driver`] if the driver fails.
    pub fn cuda(ordinal: usize) -> Result<Self, DeviceError> {
        Ok(Self(Kind::Cuda(Arc::new(cuda::Cuda::new(ordinal, None)?))))
    }

    /// As [`Executor::cuda`], running kernels that are written for `architecture`, which may be an earlier one than the GPU's.
    ///
    /// # Errors
    /// As [`Executor::cuda`], and [`DeviceError::Unavailable`] for a GPU of an earlier architecture.
    pub fn cuda_as(architecture: Architecture, ordinal: usize) -> Result<Self, DeviceError> {
        Ok(Self(Kind::Cuda(Arc::new(cuda::Cuda::new(ordinal, Some(architecture))?))))
    }

    /// The host, running kernels thread by thread. `seed` draws the order in which warps run: a kernel without races gives
    /// the same bits for every seed.
    #[cfg(feature = "emulator")]
    pub fn emulated(seed: u64) -> Self {
        Self::emulated_as(Architecture::default(), seed)
    }

    /// As [`Executor::emulated`], running kernels that are written for `architecture`.
    #[cfg(feature = "emulator")]
    pub fn emulated_as(architecture: Architecture, seed: u64) -> Self {
        Self(Kind::Emulated(Arc::new(emulated::Emulated::new(architecture, seed))))
    }

    /// What kernels may use.
    pub fn architecture(&self) -> Architecture {
        match &self.0 {
            Kind::Cuda(cuda) => cuda.architecture(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.architecture(),
        }
    }

    /// Multiprocessors: blocks of which each fills one that run at once.
    pub fn multiprocessors(&self) -> u32 {
        match &self.0 {
            Kind::Cuda(cuda) => cuda.multiprocessors(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => emulated::MULTIPROCESSORS,
        }
    }

    /// Describes `matrix` at the start of `buffer` to the tensor memory accelerator. It must be
    /// [readable](TiledMatrix::is_readable) and lie in the buffer.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if the driver refuses.
    pub fn tensor_map(&self, buffer: &DeviceBuffer, matrix: TiledMatrix) -> Result<TensorMap, DeviceError> {
        match &self.0 {
            Kind::Cuda(cuda) => cuda.tensor_map(buffer.address(), matrix),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(emulated::tensor_map(buffer.address(), matrix)),
        }
    }

    /// The executor that `first` and all `others` belong to.
    ///
    /// # Errors
    /// [`DeviceError::MixedExecutors`] if one is on another: its address would mean nothing there.
    pub fn of<'a, 'b>(
        first: &'a DeviceBuffer,
        others: impl IntoIterator<Item = &'b DeviceBuffer>,
    ) -> Result<&'a Self, DeviceError> {
        let executor = first.executor();
        if others.into_iter().all(|other| other.executor().is(executor)) {
            Ok(executor)
        } else {
            Err(DeviceError::MixedExecutors)
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Cuda(one), Kind::Cuda(two)) => Arc::ptr_eq(one, two),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(one), Kind::Emulated(two)) => Arc::ptr_eq(one, two),
            #[cfg(feature = "emulator")]
            _ => false,
        }
    }

    /// Memory that nothing was written to. On the emulator it reads as NaN.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`], or [`DeviceError::Driver`] with what the driver says.
    pub fn allocate(&self, len_bytes: usize) -> Result<DeviceBuffer, DeviceError> {
        match &self.0 {
            Kind::Cuda(cuda) => cuda.allocate(len_bytes).map(|memory| DeviceBuffer::new(self.clone(), memory)),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.allocate(len_bytes).map(|memory| DeviceBuffer::new(self.clone(), memory))
            }
        }
    }

    /// Memory that holds `values`.
    ///
    /// # Errors
    /// As [`Executor::allocate`].
    pub fn upload<T: Pod>(&self, values: &[T]) -> Result<DeviceBuffer, DeviceError> {
        let mut buffer = self.allocate(size_of_val(values))?;
        buffer.write(values)?;
        Ok(buffer)
    }

    /// Runs `kernel` with a copy of `params`. An empty grid does nothing.
    ///
    /// # Safety
    /// Every address in `params` must be of a live [`DeviceBuffer`] of this executor that is as long as the kernel, with
    /// these sizes, reads and writes; and what it writes must not be borrowed.
    ///
    /// # Errors
    /// [`DeviceError::Launch`] for a grid that no GPU takes, [`DeviceError::KernelsNotBuilt`] for a build without this
    /// kernel, [`DeviceError::KernelFault`] for what the emulator finds; [`DeviceError::Architecture`] and
    /// [`DeviceError::Driver`] on a GPU, where a fault of the kernel itself is reported by a later call.
    pub unsafe fn launch<P: Pod>(&self, kernel: &'static Kernel<P>, grid: Grid, params: &P) -> Result<(), DeviceError> {
        grid.check(kernel.name(), self.architecture())?;
        if grid.is_empty() {
            return Ok(());
        }
        match &self.0 {
            // SAFETY: the caller's promise; `params` is what the kernel takes, by its type.
            Kind::Cuda(cuda) => unsafe { cuda.launch(kernel, grid, bytemuck::bytes_of(params)) },
            #[cfg(feature = "emulator")]
            // SAFETY: as above.
            Kind::Emulated(emulated) => unsafe { emulated.launch(kernel, grid, bytemuck::bytes_of(params)) },
        }
    }

    /// Waits for everything that was started.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if something that was started failed.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        match &self.0 {
            Kind::Cuda(cuda) => cuda.synchronize(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_gpu_says_so() {
        if crate::cuda::probe().is_err() {
            let refused = Executor::cuda(0).unwrap_err();
            assert!(matches!(&refused, DeviceError::Unavailable { device, .. } if device == "cuda:0"), "{refused}");
        }
    }
}
