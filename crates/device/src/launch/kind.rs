//! What every executor can do.

use std::time::Duration;
#[cfg(feature = "emulator")]
use std::time::Instant;

use cudarc::driver::CudaEvent;

use super::buffer::Memory;
use super::command::{Command, Params};
use super::cuda::{self, Cuda};
use super::dry::Dry;
#[cfg(feature = "emulator")]
use super::emulated::{self, Emulated};
use super::kernel::Entry;
use super::{Architecture, TensorMap, TiledMatrix};
use crate::{Device, DeviceError};

#[derive(Debug)]
pub(super) enum Kind {
    Cuda(Cuda),
    Dry(Dry),
    #[cfg(feature = "emulator")]
    Emulated(Emulated),
}

/// A point in the order of the work.
#[derive(Debug)]
pub(super) enum Point {
    Cuda(CudaEvent),
    Dry,
    /// Work is done when it is started.
    #[cfg(feature = "emulator")]
    Emulated(Instant),
}

/// Commands that are started with one call.
#[derive(Debug)]
pub(super) enum Executable {
    Cuda(cuda::Graph),
    #[cfg(feature = "emulator")]
    Emulated(Vec<Command>),
}

/// A copy between the device and the host that happens beside its kernels.
#[derive(Debug)]
pub(super) enum Transfer {
    Cuda(CudaEvent),
    Dry,
    #[cfg(feature = "emulator")]
    Emulated(emulated::Transfer),
}

/// Host memory that the device reads and writes while the host goes on.
#[derive(Debug, Default)]
pub(super) enum HostMemory {
    Cuda(cuda::Pinned),
    #[default]
    Dry,
    #[cfg(feature = "emulator")]
    Emulated(Vec<u8>),
}

impl HostMemory {
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            HostMemory::Cuda(pinned) => pinned.bytes_mut(),
            HostMemory::Dry => &mut [],
            #[cfg(feature = "emulator")]
            HostMemory::Emulated(bytes) => bytes,
        }
    }
}

/// A point, a graph or host memory met an executor of another kind.
const MIXED: Result<(), DeviceError> = Err(DeviceError::MixedExecutors);

impl Kind {
    #[cfg(feature = "cublaslt")]
    pub(super) fn cuda(&self) -> Option<&Cuda> {
        match self {
            Kind::Cuda(cuda) => Some(cuda),
            _ => None,
        }
    }

    pub(super) fn device(&self) -> Device {
        match self {
            Kind::Cuda(cuda) => Device::Cuda(cuda.ordinal()),
            Kind::Dry(dry) => Device::Dry(dry.architecture()),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Device::Emulated,
        }
    }

    pub(super) fn architecture(&self) -> Architecture {
        match self {
            Kind::Cuda(cuda) => cuda.architecture(),
            Kind::Dry(dry) => dry.architecture(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.architecture(),
        }
    }

    pub(super) fn multiprocessors(&self) -> u32 {
        match self {
            Kind::Cuda(cuda) => cuda.multiprocessors(),
            Kind::Dry(dry) => dry.multiprocessors(),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => emulated::MULTIPROCESSORS,
        }
    }

    pub(super) fn tensor_map(&self, address: u64, matrix: TiledMatrix) -> Result<TensorMap, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.tensor_map(address, matrix),
            Kind::Dry(_) => Ok(TensorMap::default()),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(emulated::tensor_map(address, matrix)),
        }
    }

    /// A new block.
    pub(super) fn allocate(&self, capacity: usize) -> Result<u64, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.allocate(capacity),
            Kind::Dry(dry) => dry.allocate(capacity),
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.allocate(capacity),
        }
    }

    /// Memory that the device has free, if it tells.
    pub(super) fn free_bytes(&self) -> Result<Option<usize>, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.free_bytes().map(Some),
            Kind::Dry(_) => Ok(None),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(None),
        }
    }

    /// Whether memory that nothing was written to is to read as NaN.
    pub(super) fn poisons(&self) -> bool {
        match self {
            Kind::Cuda(cuda) => cuda.poisons(),
            Kind::Dry(_) => false,
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => true,
        }
    }

    /// Gives a block back to the device.
    pub(super) fn free(&self, address: u64) {
        match self {
            Kind::Cuda(cuda) => cuda.free(address),
            Kind::Dry(_) => {}
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => emulated.free(address),
        }
    }

    pub(super) fn read(&self, from: Memory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.read(from, bytes),
            Kind::Dry(_) => {
                bytes.fill(0);
                Ok(())
            }
            #[cfg(feature = "emulator")]
            Kind::Emulated(emulated) => {
                emulated.read(from, bytes);
                Ok(())
            }
        }
    }

    /// # Safety
    /// As [`super::Executor::launch`], for a kernel with the bytes of the struct that it takes.
    pub(super) unsafe fn run(&self, command: &Command) -> Result<(), DeviceError> {
        match self {
            // SAFETY: the caller's promise.
            Kind::Cuda(cuda) => unsafe { cuda.run(command) },
            Kind::Dry(dry) => {
                dry.note(command);
                Ok(())
            }
            #[cfg(feature = "emulator")]
            // SAFETY: as above.
            Kind::Emulated(emulated) => unsafe { emulated.run(command) },
        }
    }

    /// Whether a kernel can be launched later.
    pub(super) fn check(&self, kernel: &Entry, params: &Params) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.check(kernel, params),
            Kind::Dry(_) => Ok(()),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => emulated::host(kernel).map(drop),
        }
    }

    /// Whether commands can be started with one call.
    pub(super) fn has_graphs(&self) -> bool {
        !matches!(self, Kind::Dry(_))
    }

    /// What starts `commands` with one call.
    pub(super) fn graph(&self, commands: &[Command]) -> Result<Executable, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.graph(commands).map(Executable::Cuda),
            Kind::Dry(_) => Err(DeviceError::NoKernels),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(Executable::Emulated(commands.to_vec())),
        }
    }

    /// Makes `command`, of the same shape, the one at `index`.
    pub(super) fn update(
        &self,
        executable: &mut Executable,
        index: usize,
        command: &Command,
    ) -> Result<(), DeviceError> {
        match (self, executable) {
            (Kind::Cuda(cuda), Executable::Cuda(graph)) => cuda.update(graph, index, command),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(_), Executable::Emulated(commands)) => {
                commands[index].clone_from(command);
                Ok(())
            }
            _ => MIXED,
        }
    }

    /// # Safety
    /// As [`Kind::run`], for each command.
    pub(super) unsafe fn start(&self, executable: &Executable) -> Result<(), DeviceError> {
        match (self, executable) {
            (Kind::Cuda(cuda), Executable::Cuda(graph)) => cuda.start(graph),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(emulated), Executable::Emulated(commands)) => {
                // SAFETY: the caller's promise.
                commands.iter().try_for_each(|command| unsafe { emulated.run(command) })
            }
            _ => MIXED,
        }
    }

    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.synchronize(),
            Kind::Dry(_) => Ok(()),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(()),
        }
    }

    pub(super) fn event(&self) -> Result<Point, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.event().map(Point::Cuda),
            Kind::Dry(_) => Ok(Point::Dry),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(Point::Emulated(Instant::now())),
        }
    }

    pub(super) fn wait(&self, point: &Point) -> Result<(), DeviceError> {
        match (self, point) {
            (Kind::Cuda(cuda), Point::Cuda(event)) => cuda.wait(event),
            (Kind::Dry(_), Point::Dry) => Ok(()),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(_), Point::Emulated(_)) => Ok(()),
            _ => MIXED,
        }
    }

    pub(super) fn elapsed(&self, from: &Point, to: &Point) -> Result<Duration, DeviceError> {
        match (self, from, to) {
            (Kind::Cuda(cuda), Point::Cuda(from), Point::Cuda(to)) => {
                Ok(Duration::from_secs_f32(cuda.elapsed_ms(from, to)?.max(0.0) / 1e3))
            }
            (Kind::Dry(_), Point::Dry, Point::Dry) => Ok(Duration::ZERO),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(_), Point::Emulated(from), Point::Emulated(to)) => Ok(to.duration_since(*from)),
            _ => Err(DeviceError::MixedExecutors),
        }
    }

    /// Zeroed host memory.
    pub(super) fn host_memory(&self, len: usize) -> Result<HostMemory, DeviceError> {
        match self {
            Kind::Cuda(cuda) => cuda.pinned(len).map(HostMemory::Cuda),
            Kind::Dry(_) => Ok(HostMemory::Dry),
            #[cfg(feature = "emulator")]
            Kind::Emulated(_) => Ok(HostMemory::Emulated(vec![0; len])),
        }
    }

    /// Starts to copy `from` to host memory that is as long, behind the work so far.
    pub(super) fn copy_out(&self, from: Memory, to: &mut HostMemory) -> Result<Transfer, DeviceError> {
        match (self, to) {
            (Kind::Cuda(cuda), HostMemory::Cuda(pinned)) => cuda.copy_out(from, pinned).map(Transfer::Cuda),
            (Kind::Dry(_), HostMemory::Dry) => Ok(Transfer::Dry),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(_), HostMemory::Emulated(bytes)) => {
                Ok(Transfer::Emulated(emulated::Transfer::out(from, bytes)))
            }
            _ => Err(DeviceError::MixedExecutors),
        }
    }

    /// Starts to copy host memory to `to`, behind the work so far.
    pub(super) fn copy_back(&self, from: &HostMemory, to: Memory) -> Result<Transfer, DeviceError> {
        match (self, from) {
            (Kind::Cuda(cuda), HostMemory::Cuda(pinned)) => cuda.copy_back(pinned, to).map(Transfer::Cuda),
            (Kind::Dry(_), HostMemory::Dry) => Ok(Transfer::Dry),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(_), HostMemory::Emulated(_)) => Ok(Transfer::Emulated(emulated::Transfer::back(to))),
            _ => Err(DeviceError::MixedExecutors),
        }
    }

    /// Has the work from here on wait for a copy from or to `host`.
    pub(super) fn follow(&self, transfer: Transfer, host: &mut HostMemory) -> Result<(), DeviceError> {
        match (self, transfer, host) {
            (Kind::Cuda(cuda), Transfer::Cuda(copied), HostMemory::Cuda(_)) => cuda.follow(&copied),
            (Kind::Dry(_), Transfer::Dry, HostMemory::Dry) => Ok(()),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(emulated), Transfer::Emulated(transfer), HostMemory::Emulated(bytes)) => {
                transfer.land(emulated, bytes);
                Ok(())
            }
            _ => MIXED,
        }
    }

    /// Starts a copy of the bytes of `from` from `start` on, which must not change before it has ended.
    pub(super) fn write_from(&self, from: &HostMemory, start: usize, to: Memory) -> Result<(), DeviceError> {
        match (self, from) {
            (Kind::Cuda(cuda), HostMemory::Cuda(pinned)) => cuda.write_pinned(to, pinned, start),
            (Kind::Dry(_), HostMemory::Dry) => Ok(()),
            #[cfg(feature = "emulator")]
            (Kind::Emulated(emulated), HostMemory::Emulated(bytes)) => {
                emulated.write(to, &bytes[start..start + to.len]);
                Ok(())
            }
            _ => MIXED,
        }
    }
}
