//! Launching kernels: one function for a GPU and for the emulator.
//!
//! A kernel is written once, in `cuda/<family>/*.cu`. [`Executor::cuda`] runs it on a GPU; [`Executor::emulated`] (feature
//! `emulator`) runs the same source thread by thread on the host and finds faults that hardware lets pass. A kernel takes
//! one parameter struct, written in `cuda/<family>/params.h` and generated for Rust; buffers appear in it by address.
//!
//! | concept | here |
//! |---|---|
//! | where kernels run | [`Executor`] |
//! | memory there | [`DeviceBuffer`], filled from files by [`Staging`], shared for what does not change ([`Executor::constant`]) |
//! | contents that wait on the host | [`DeviceBuffer::offload`], [`Offloaded`] |
//! | how often the host waits and copies | [`Exchanges`] |
//! | time | [`Event`], of each launch [`Executor::profile`] |
//! | many launches started with one call | [`Executor::in_graphs`] |
//! | a kernel, typed by its parameters | [`Kernel`], [`Image`] |
//! | how many threads, and what they have to do | [`Grid`], [`Work`] |
//! | what would be launched, without a device | [`Executor::dry`], [`Launched`] |

mod architecture;
mod buffer;
mod command;
mod constants;
#[cfg(feature = "cublaslt")]
mod cublaslt;
mod cuda;
mod dry;
#[cfg(feature = "emulator")]
mod emulated;
mod event;
mod exchanges;
mod graphs;
mod grid;
mod kernel;
mod kind;
mod memory;
mod offload;
mod page_locked;
mod pool;
mod profile;
mod ring;
mod staging;
mod tensor_map;
#[cfg(feature = "emulator")]
pub mod testing;
mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

use crate::{Device, DeviceError};
use command::{Command, Params};
use constants::Constants;
use exchanges::Counters;
use graphs::Graphs;
use kind::Kind;
use offload::HostBlocks;
use ring::Ring;

pub use architecture::Architecture;
pub use buffer::DeviceBuffer;
#[cfg(feature = "cublaslt")]
pub use cublaslt::{CublasLt, Product};
pub use dry::Launched;
pub use event::Event;
pub use exchanges::Exchanges;
pub use graphs::{GRAPH_NODE_BYTES, GraphStats};
pub use grid::Grid;
pub use kernel::{Built, HostFunction, Image, Kernel};
pub use offload::Offloaded;
pub use pool::PoolStats;
pub use staging::Staging;
pub use tensor_map::{TensorMap, TiledMatrix};
pub use work::Work;

/// Every byte of memory that was not written, on the emulator and in tests: as f32, bf16 and f16 that is NaN.
const POISON: u8 = 0xff;
/// Where kernels run. Clones share one device and its memory; launches and copies happen in the order of the calls.
#[derive(Clone, Debug)]
pub struct Executor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    pool: pool::Pool,
    constants: Constants,
    /// Made by the first copy from the host.
    ring: Mutex<Option<Ring>>,
    exchanges: Counters,
    /// Bytes of the device to take at most.
    limit: AtomicUsize,
    /// Whether launches are timed, and those that were.
    is_profiled: AtomicBool,
    timed: Mutex<Vec<profile::Timed>>,
    graphs: Graphs,
    host_blocks: HostBlocks,
    page_locked: Arc<page_locked::Counts>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.constants.drain().into_iter().chain(self.pool.drain()).for_each(|address| self.kind.free(address));
    }
}

impl Executor {
    fn new(kind: Kind) -> Self {
        Self(Arc::new(Inner {
            kind,
            pool: pool::Pool::default(),
            constants: Constants::default(),
            ring: Mutex::default(),
            exchanges: Counters::default(),
            limit: AtomicUsize::new(usize::MAX),
            is_profiled: AtomicBool::new(false),
            timed: Mutex::default(),
            graphs: Graphs::default(),
            host_blocks: HostBlocks::default(),
            page_locked: Arc::default(),
        }))
    }

    /// The executor of `device` that the whole process shares.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] or [`DeviceError::NoCuda`] with the reason where this machine or this build lacks the
    /// device, and for the CPU, which runs no kernels; [`DeviceError::Driver`] if the driver fails.
    pub fn for_device(device: Device) -> Result<Self, DeviceError> {
        static EXECUTORS: Mutex<BTreeMap<Device, Executor>> = Mutex::new(BTreeMap::new());
        // What is in the map is whole whatever has panicked.
        let mut executors = EXECUTORS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(executor) = executors.get(&device) {
            return Ok(executor.clone());
        }
        let executor = Self::open(device)?;
        executors.insert(device, executor.clone());
        Ok(executor)
    }

    fn open(device: Device) -> Result<Self, DeviceError> {
        let unavailable =
            |reason: &str| Err(DeviceError::Unavailable { device: device.to_string(), reason: reason.to_owned() });
        match device {
            Device::Cpu => unavailable("the CPU has functions of its own and runs no kernels"),
            Device::Cuda(ordinal) => Self::cuda(ordinal),
            Device::Dry(architecture) => Ok(Self::dry(architecture)),
            #[cfg(feature = "emulator")]
            Device::Emulated => Ok(Self::emulated(0)),
            #[cfg(not(feature = "emulator"))]
            Device::Emulated => unavailable(
                "this build has no emulator; build with the cargo feature `emulator`, which takes a C++20 compiler",
            ),
        }
    }

    /// The GPU `ordinal`, as in `cuda:N`.
    ///
    /// # Errors
    /// [`DeviceError::NoCuda`] where there is no driver or no GPU, [`DeviceError::Unavailable`] for a number that no GPU has,
    /// [`DeviceError::Driver`] if the driver fails.
    pub fn cuda(ordinal: usize) -> Result<Self, DeviceError> {
        Ok(Self::new(Kind::Cuda(cuda::Cuda::new(ordinal, None)?)))
    }

    /// As [`Executor::cuda`], running kernels that are written for `architecture`, which may be an earlier one than the GPU's.
    ///
    /// # Errors
    /// As [`Executor::cuda`], and [`DeviceError::Unavailable`] for a GPU of an earlier architecture.
    pub fn cuda_as(architecture: Architecture, ordinal: usize) -> Result<Self, DeviceError> {
        Ok(Self::new(Kind::Cuda(cuda::Cuda::new(ordinal, Some(architecture))?)))
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
        Self::new(Kind::Emulated(emulated::Emulated::new(architecture, seed)))
    }

    /// Which device it is.
    pub fn device(&self) -> Device {
        self.0.kind.device()
    }

    /// What kernels may use.
    pub fn architecture(&self) -> Architecture {
        self.0.kind.architecture()
    }

    /// Multiprocessors: blocks of which each fills one that run at once.
    pub fn multiprocessors(&self) -> u32 {
        self.0.kind.multiprocessors()
    }

    /// Describes `matrix` at the start of `buffer` to the tensor memory accelerator. It must be
    /// [readable](TiledMatrix::is_readable) and lie in the buffer.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if the driver refuses.
    pub fn tensor_map(&self, buffer: &DeviceBuffer, matrix: TiledMatrix) -> Result<TensorMap, DeviceError> {
        self.0.kind.tensor_map(buffer.address(), matrix)
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

    /// Whether both are one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Runs `kernel` with a copy of `params`. An empty grid does nothing.
    ///
    /// # Safety
    /// Every address in `params` must be of a live [`DeviceBuffer`] of this executor that is as long as the kernel, with
    /// these sizes, reads and writes; and what it writes must not be borrowed.
    ///
    /// # Errors
    /// [`DeviceError::Launch`] for a grid that no GPU takes, [`DeviceError::KernelsNotBuilt`] for a build without this
    /// kernel, [`DeviceError::KernelFault`] for what the emulator finds; [`DeviceError::Architecture`],
    /// [`DeviceError::DriverTooOld`], [`DeviceError::Image`] and [`DeviceError::Driver`] on a GPU, where a fault of the kernel
    /// itself is reported by a later call, as [`DeviceError::Sticky`].
    pub unsafe fn launch<P: Pod>(&self, kernel: &'static Kernel<P>, grid: Grid, params: &P) -> Result<(), DeviceError> {
        grid.check(kernel.name(), self.architecture())?;
        if grid.is_empty() {
            return Ok(());
        }
        let params = Params::new(bytemuck::bytes_of(params));
        // SAFETY: the caller's promise; `params` is what the kernel takes, by its type.
        unsafe { self.perform(Command::Launch { kernel: kernel.entry(), grid, params }) }
    }

    /// Waits for everything that was started.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if something that was started failed.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.start_collected()?;
        self.0.exchanges.wait();
        self.0.kind.synchronize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_gpu_says_so() {
        if crate::cuda::probe().is_err() {
            let refused = Executor::for_device(Device::Cuda(0)).unwrap_err();
            assert!(matches!(&refused, DeviceError::NoCuda { device, .. } if device == "cuda:0"), "{refused}");
        }
        assert!(matches!(Executor::for_device(Device::Cpu), Err(DeviceError::Unavailable { .. })));
    }

    #[cfg(not(feature = "emulator"))]
    #[test]
    fn a_build_without_the_emulator_says_how_to_get_it() {
        let refused = Executor::for_device(Device::Emulated).unwrap_err().to_string();
        assert!(refused.contains("cargo feature `emulator`"), "{refused}");
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn a_process_has_one_emulated_device() {
        let [one, two] = [(); 2].map(|()| Executor::for_device(Device::Emulated).unwrap());
        assert!(one.is(&two) && !one.is(&Executor::emulated(0)));
        assert_eq!(one.device(), Device::Emulated);
    }
}
