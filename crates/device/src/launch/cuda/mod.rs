//! Kernels on a GPU, through the driver API.

mod error;
mod graph;
mod image;
mod modules;
mod pinned;
mod tensor_map;
mod transfer;

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result, sys};

use super::buffer::Memory;
use super::command::{Command, Params};
use super::kernel::Entry;
use super::{Architecture, Grid, POISON};
use crate::{DeviceError, cuda};
use modules::Modules;

pub(super) use graph::Graph;
pub(super) use pinned::Pinned;

/// Dynamic shared memory that a kernel may have without asking.
const DEFAULT_SHARED_BYTES: u32 = 48 << 10;

/// One GPU: its context, one stream on which everything happens in order, one for copies beside it, and the kernels loaded so
/// far.
#[derive(Debug)]
pub(super) struct Cuda {
    gpu: cuda::Gpu,
    architecture: Architecture,
    poisons: bool,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    copies: Arc<CudaStream>,
    multiprocessors: u32,
    /// What a block can have.
    shared_bytes: u32,
    modules: Mutex<Modules>,
}

impl Cuda {
    /// The GPU `ordinal` as one of `architecture`, or as what it is.
    pub(super) fn new(ordinal: usize, architecture: Option<Architecture>) -> Result<Self, DeviceError> {
        let device = || format!("cuda:{ordinal}");
        let unavailable = |reason: String| DeviceError::Unavailable { device: device(), reason };
        // cudarc panics where there is no driver, so the probe comes first.
        let gpus = cuda::probe().map_err(|missing| DeviceError::NoCuda { device: device(), missing })?;
        let count = gpus.len();
        let gpu = gpus
            .into_iter()
            .nth(ordinal)
            .ok_or_else(|| unavailable(format!("the driver shows {count} GPUs, numbered from 0")))?;
        let own = Architecture::of(gpu.compute_capability);
        let architecture = architecture.unwrap_or(own);
        if own < architecture {
            return Err(unavailable(format!(
                "{} does not run kernels that are written for {architecture:?}",
                gpu.name
            )));
        }
        let failed = |error| error::driver("opening the GPU", None, error);
        let context = CudaContext::new(ordinal).map_err(failed)?;
        keep_freed_memory(&context).map_err(failed)?;
        let stream = context.new_stream().map_err(failed)?;
        let copies = context.new_stream().map_err(failed)?;
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(count).map_err(failed)?.max(1) as u32;
        let shared = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let shared_bytes = context.attribute(shared).map_err(failed)?.max(0) as u32;
        let modules = Mutex::default();
        Ok(Self { gpu, architecture, poisons: false, context, stream, copies, multiprocessors, shared_bytes, modules })
    }

    /// The same GPU, whose memory reads as NaN until it is written, as the emulator's does.
    #[cfg(feature = "emulator")]
    pub(super) fn with_poison(self) -> Self {
        Self { poisons: true, ..self }
    }

    pub(super) fn ordinal(&self) -> usize {
        self.gpu.ordinal
    }

    pub(super) fn poisons(&self) -> bool {
        self.poisons
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    pub(super) fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// The stream, for a library that starts work on it from this thread.
    #[cfg(feature = "cublaslt")]
    pub(super) fn bound_stream(&self) -> Result<sys::CUstream, DeviceError> {
        self.bind()?;
        Ok(self.stream.cu_stream())
    }

    fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(|error| self.failed("using the GPU", error))
    }

    fn failed(&self, action: &'static str, error: DriverError) -> DeviceError {
        error::driver(action, self.modules().latest(), error)
    }

    fn modules(&self) -> std::sync::MutexGuard<'_, Modules> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn allocate(&self, capacity: usize) -> Result<u64, DeviceError> {
        self.bind()?;
        // SAFETY: the stream is live; what reads the memory first writes it, or reads unspecified bytes of plain data.
        let allocated = unsafe { result::malloc_async(self.stream.cu_stream(), capacity) };
        allocated.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                DeviceError::OutOfMemory { device: format!("cuda:{}", self.gpu.ordinal), bytes: capacity }
            }
            _ => self.failed("allocating", error),
        })
    }

    pub(super) fn free_bytes(&self) -> Result<usize, DeviceError> {
        self.bind()?;
        let (free, _) = result::mem_get_info().map_err(|error| self.failed("asking for free memory", error))?;
        Ok(free)
    }

    pub(super) fn free(&self, address: u64) {
        if self.context.bind_to_thread().is_ok() {
            // An error here is an earlier launch's, which the next call reports.
            // SAFETY: the memory came from `allocate` on this stream and has no owner any more.
            let _ = unsafe { result::free_async(address, self.stream.cu_stream()) };
        }
    }

    pub(super) fn read(&self, memory: Memory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the buffer is live and as long as `bytes`, which outlive the copy: the stream is waited for below.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, memory.address, self.stream.cu_stream()) };
        let waited = self.synchronize();
        copied.map_err(|error| self.failed("copying from the GPU", error))?;
        waited
    }

    /// Copies the bytes of page-locked memory from `start` on, which are read after this returns.
    pub(super) fn write_pinned(&self, memory: Memory, pinned: &Pinned, start: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the buffer is live, and the page-locked memory is at least as long and waited for before it changes.
        let copied = unsafe { pinned.copy_to(memory, start, self.stream.cu_stream()) };
        copied.map_err(|error| self.failed("copying to the GPU", error))
    }

    /// A point in the stream that also tells the time.
    pub(super) fn event(&self) -> Result<CudaEvent, DeviceError> {
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        self.stream.record_event(timed).map_err(|error| self.failed("recording an event", error))
    }

    pub(super) fn wait(&self, event: &CudaEvent) -> Result<(), DeviceError> {
        event.synchronize().map_err(|error| self.failed("waiting for an event", error))
    }

    /// Milliseconds from one event to a later one. Waits for both.
    pub(super) fn elapsed_ms(&self, from: &CudaEvent, to: &CudaEvent) -> Result<f32, DeviceError> {
        from.elapsed_ms(to).map_err(|error| self.failed("reading the time between events", error))
    }

    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        self.stream.synchronize().map_err(|error| self.failed("waiting for the GPU", error))
    }

    /// # Safety
    /// As [`super::kind::Kind::run`].
    pub(super) unsafe fn run(&self, command: &Command) -> Result<(), DeviceError> {
        self.bind()?;
        let stream = self.stream.cu_stream();
        match command {
            // SAFETY: the caller's promise.
            Command::Launch { kernel, grid, params } => unsafe { self.launch(kernel, *grid, params) },
            Command::Zero(memory) => {
                // SAFETY: the buffer is live and that long.
                let set = unsafe { result::memset_d8_async(memory.address, 0, memory.len, stream) };
                set.map_err(|error| self.failed("setting memory to zero", error))
            }
            Command::Copy { from, to } => {
                // SAFETY: both buffers are live and that long.
                let copied = unsafe { result::memcpy_dtod_async(to.address, from.address, from.len, stream) };
                copied.map_err(|error| self.failed("copying on the GPU", error))
            }
            Command::Prepare(Memory { len: 0, .. }) => Ok(()),
            Command::Prepare(memory) => {
                // SAFETY: the block is live and at least that long.
                let filled = unsafe { result::memset_d8_async(memory.address, POISON, memory.len, stream) };
                filled.map_err(|error| self.failed("filling memory", error))
            }
        }
    }

    /// # Safety
    /// As [`Cuda::run`].
    unsafe fn launch(&self, kernel: &Entry, grid: Grid, params: &Params) -> Result<(), DeviceError> {
        let function = self.function(kernel, grid, params)?;
        let [x, y, z] = grid.blocks;
        let mut arguments = [argument(params)];
        self.modules().launching(kernel.name);
        // SAFETY: the kernel takes one struct by value, whose bytes the driver copies before it returns; the rest is the
        // caller's promise.
        unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (grid.threads, 1, 1),
                grid.shared_bytes,
                self.stream.cu_stream(),
                &mut arguments,
            )
        }
        .map_err(|error| self.failed("launching", error))
    }

    /// Loads a kernel, to be launched later.
    pub(super) fn check(&self, kernel: &Entry, params: &Params) -> Result<(), DeviceError> {
        self.bind()?;
        self.modules().function(kernel, params.bytes().len(), &self.gpu).map(drop)
    }

    /// The function of a kernel, which may have the shared memory of `grid`.
    fn function(&self, kernel: &Entry, grid: Grid, params: &Params) -> Result<sys::CUfunction, DeviceError> {
        let function = self.modules().function(kernel, params.bytes().len(), &self.gpu)?;
        if grid.shared_bytes > self.shared_bytes {
            return Err(DeviceError::SharedMemory {
                kernel: kernel.name,
                needed: grid.shared_bytes,
                gpu: self.gpu.name.clone(),
                available: self.shared_bytes,
            });
        }
        if grid.shared_bytes > DEFAULT_SHARED_BYTES {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is loaded and its module is never unloaded.
            unsafe { result::function::set_function_attribute(function, attribute, grid.shared_bytes as i32) }
                .map_err(|error| self.failed("asking for shared memory", error))?;
        }
        Ok(function)
    }
}

/// The one argument of a kernel, as the driver takes it.
fn argument(params: &Params) -> *mut c_void {
    params.bytes().as_ptr().cast_mut().cast()
}

/// Has the driver's pool keep memory that is freed, which it would give back to the system at the next wait.
fn keep_freed_memory(context: &CudaContext) -> Result<(), DriverError> {
    // SAFETY: the context's device was handed out by the driver.
    let pool = unsafe { result::device::get_default_mem_pool(context.cu_device())? };
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is read from a 64-bit integer.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()) }
}
