//! What can go wrong below the kernels.

use crate::cuda::NoCuda;
use crate::launch::Grid;
use crate::{DType, Device};

/// Errors of devices, memory and element types.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is not a device.
    #[error("device `{name}` is unknown; use auto, cpu, cuda, cuda:N or emulated")]
    UnknownDevice {
        /// As given.
        name: String,
    },
    /// A device was asked for that this machine or build does not have.
    #[error("device `{device}` cannot be used: {reason}")]
    Unavailable {
        /// As asked for.
        device: String,
        /// What is missing, and the remedy.
        reason: String,
    },
    /// A GPU was asked for where there is none that can be used.
    #[error("device `{device}` cannot be used: {missing}")]
    NoCuda {
        /// As asked for.
        device: String,
        /// What is missing, and the remedy.
        missing: NoCuda,
    },
    /// The memory of a buffer could not be had.
    #[error(
        "out of memory: {bytes} bytes were asked for on {device}; lower the batch size or max_length, or turn on gradient_checkpointing"
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes asked for.
        bytes: usize,
    },
    /// A buffer holds another element type.
    #[error("a buffer of {got} was used as {expected}")]
    DType {
        /// What the caller wanted.
        expected: DType,
        /// What the buffer holds.
        got: DType,
    },
    /// The elements of a buffer were asked for where the CPU cannot reach them.
    #[error("a buffer on {device} was used as memory of the CPU; copy it there first")]
    NotOnHost {
        /// Where it is.
        device: Device,
    },
    /// Memory of the CPU was given to a kernel.
    #[error("a buffer on the cpu was given to a kernel; copy it to the kernel's device first")]
    NoKernels,
    /// Bytes that are not whole aligned elements.
    #[error("{len} bytes at address {address:#x} are not aligned {dtype} elements")]
    Misaligned {
        /// The element type.
        dtype: DType,
        /// Where the bytes start.
        address: usize,
        /// How many there are.
        len: usize,
    },
    /// A launch on a GPU needs a kernel that this build lacks.
    #[error(
        "kernel `{kernel}` of {file} was not built: {reason}; install the compiler (scripts/setup-cuda), rebuild, or use cpu"
    )]
    KernelsNotBuilt {
        /// The kernel.
        kernel: &'static str,
        /// Its source.
        file: &'static str,
        /// Why the build left it out.
        reason: &'static str,
    },
    /// The kernels were built for other GPUs.
    #[error(
        "kernel `{kernel}` was built for {built}; {gpu} has compute capability {}.{} and its driver takes none of these",
        compute_capability.0, compute_capability.1
    )]
    Architecture {
        /// The kernel.
        kernel: &'static str,
        /// For what it was built.
        built: &'static str,
        /// The GPU's name.
        gpu: String,
        /// Its compute capability.
        compute_capability: (i32, i32),
    },
    /// The kernels were compiled for a newer driver.
    #[error(
        "kernel `{kernel}` was compiled for a newer driver than this one, which supports CUDA {}.{}; update the driver, or \
         build with the nvcc of an older CUDA",
        supports.0, supports.1
    )]
    DriverTooOld {
        /// The kernel.
        kernel: &'static str,
        /// The newest CUDA version that the driver supports.
        supports: (i32, i32),
    },
    /// The machine code that was found is not that of the kernel.
    #[error(
        "kernel `{kernel}` cannot be loaded from {image}: {problem}; write the folder that TUNESMITH_KERNELS names again \
         from the sources of this program, or unset it"
    )]
    Image {
        /// The kernel.
        kernel: &'static str,
        /// The file, or the program.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// A kernel failed while it ran. The error is sticky: the process can do nothing more on this GPU.
    #[error(
        "kernel `{kernel}`, or one shortly before it, failed on the GPU: {code} ({description}), seen while {action}; the \
         process cannot use the GPU any more. Run again with CUDA_LAUNCH_BLOCKING=1 to be told the kernel itself"
    )]
    Sticky {
        /// The kernel that was launched last.
        kernel: &'static str,
        /// What was being done when the error was seen.
        action: &'static str,
        /// The driver's name of the error.
        code: String,
        /// The driver's words.
        description: String,
    },
    /// NVIDIA's matrix library refuses.
    #[error("cublaslt reports {status} while {action}")]
    Cublas {
        /// What was being done.
        action: &'static str,
        /// Its name of the error.
        status: String,
    },
    /// The driver reports an error.
    #[error("the NVIDIA driver reports {code} ({description}) while {action}; the kernel launched last is {kernel}")]
    Driver {
        /// What was being done.
        action: &'static str,
        /// The driver's name of the error.
        code: String,
        /// The driver's words.
        description: String,
        /// The latest kernel, `none` before the first.
        kernel: &'static str,
    },
    /// A launch that no GPU takes.
    #[error(
        "kernel `{kernel}` cannot be launched with {grid}: a block is 32 to 1024 threads in whole warps with up to 166912 bytes \
         (232448 on an H100), \
         and there are up to 2147483647 x 65535 x 65535 blocks"
    )]
    Launch {
        /// The kernel.
        kernel: &'static str,
        /// What was asked for.
        grid: Grid,
    },
    /// A kernel needs more shared memory than the GPU gives a block, as those for an A100 may on smaller ones of its generation.
    #[error(
        "kernel `{kernel}` needs {needed} bytes of shared memory for a block, and {gpu} has {available}; use cpu, or bf16 and \
         shorter heads"
    )]
    SharedMemory {
        /// The kernel.
        kernel: &'static str,
        /// What it needs.
        needed: u32,
        /// What the GPU calls itself.
        gpu: String,
        /// What a block can have.
        available: u32,
    },
    /// The emulator found a fault in a kernel.
    #[error("kernel `{kernel}`: {fault}")]
    KernelFault {
        /// The kernel.
        kernel: &'static str,
        /// What, and where.
        fault: String,
    },
    /// A copy between buffers of different length.
    #[error("a device buffer of {buffer} bytes was copied from or to {host} bytes")]
    BufferLength {
        /// Bytes of the buffer.
        buffer: usize,
        /// Bytes on the host.
        host: usize,
    },
    /// The buffers of one launch are not all on one device.
    #[error("the buffers of one launch are on different devices; copy them to one")]
    MixedExecutors,
}
