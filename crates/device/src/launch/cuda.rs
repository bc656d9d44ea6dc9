//! Kernels on a GPU, through the driver API.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::buffer::Memory;
use super::{Architecture, Built, Grid, Image, Kernel, POISON, TensorMap, TiledMatrix};
use crate::{DeviceError, cuda};

/// Dynamic shared memory that a kernel may have without asking.
const DEFAULT_SHARED_BYTES: u32 = 48 << 10;

/// One GPU: its context, one stream on which everything happens in order, and the kernels loaded so far.
#[derive(Debug)]
pub(super) struct Cuda {
    gpu: cuda::Gpu,
    architecture: Architecture,
    poisons: bool,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    multiprocessors: u32,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    /// By the image's address: images are statics.
    modules: HashMap<usize, sys::CUmodule>,
    functions: HashMap<&'static str, sys::CUfunction>,
    /// The kernel launched last, which an asynchronous error most likely comes from.
    latest: Option<&'static str>,
}

// SAFETY: module and function handles are addresses inside the driver, which may be used from any thread.
unsafe impl Send for Loaded {}

impl Cuda {
    /// The GPU `ordinal` as one of `architecture`, or as what it is.
    pub(super) fn new(ordinal: usize, architecture: Option<Architecture>) -> Result<Self, DeviceError> {
        let unavailable = |reason: String| DeviceError::Unavailable { device: format!("cuda:{ordinal}"), reason };
        // cudarc panics where there is no driver, so the probe comes first.
        let gpus = cuda::probe().map_err(|missing| unavailable(missing.to_string()))?;
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
        let failed = |error| driver_error("opening the GPU", None, error);
        let context = CudaContext::new(ordinal).map_err(failed)?;
        let stream = context.new_stream().map_err(failed)?;
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(count).map_err(failed)?.max(1) as u32;
        Ok(Self { gpu, architecture, poisons: false, context, stream, multiprocessors, loaded: Mutex::default() })
    }

    /// The same GPU, whose memory reads as NaN until it is written, as the emulator's does.
    #[cfg(feature = "emulator")]
    pub(super) fn with_poison(self) -> Self {
        Self { poisons: true, ..self }
    }

    pub(super) fn ordinal(&self) -> usize {
        self.gpu.ordinal
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    pub(super) fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    pub(super) fn tensor_map(&self, address: u64, matrix: TiledMatrix) -> Result<TensorMap, DeviceError> {
        self.bind()?;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let dims = [matrix.cols as u64, matrix.rows as u64];
        let strides = [2 * matrix.row_stride as u64];
        let (boxes, steps) = ([TiledMatrix::BOX_COLS, matrix.box_rows], [1, 1]);
        // SAFETY: every array is as long as the rank of 2 asks for. The driver reads no device memory.
        let encoded = unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                2,
                address as *mut c_void,
                dims.as_ptr(),
                strides.as_ptr(),
                boxes.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle_enum::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        encoded.result().map_err(|error| self.failed("describing a matrix to the tensor memory accelerator", error))?;
        Ok(map.opaque)
    }

    fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(|error| self.failed("using the GPU", error))
    }

    fn failed(&self, action: &'static str, error: DriverError) -> DeviceError {
        driver_error(action, self.loaded().latest, error)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Poisons the first `len` bytes of a block in tests.
    pub(super) fn prepare(&self, address: u64, len: usize) -> Result<(), DeviceError> {
        if !self.poisons || len == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the block is live and at least that long.
        let filled = unsafe { result::memset_d8_async(address, POISON, len, self.stream.cu_stream()) };
        filled.map_err(|error| self.failed("filling memory", error))
    }

    pub(super) fn free(&self, address: u64) {
        if self.context.bind_to_thread().is_ok() {
            // An error here is an earlier launch's, which the next call reports.
            // SAFETY: the memory came from `allocate` on this stream and has no owner any more.
            let _ = unsafe { result::free_async(address, self.stream.cu_stream()) };
        }
    }

    pub(super) fn zero(&self, memory: Memory) -> Result<(), DeviceError> {
        if memory.len == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the buffer is live and that long.
        let set = unsafe { result::memset_d8_async(memory.address, 0, memory.len, self.stream.cu_stream()) };
        set.map_err(|error| self.failed("setting memory to zero", error))
    }

    pub(super) fn copy(&self, from: Memory, to: Memory) -> Result<(), DeviceError> {
        if from.len == 0 {
            return Ok(());
        }
        self.bind()?;
        let stream = self.stream.cu_stream();
        // SAFETY: both buffers are live and that long.
        let copied = unsafe { result::memcpy_dtod_async(to.address, from.address, from.len, stream) };
        copied.map_err(|error| self.failed("copying on the GPU", error))
    }

    pub(super) fn write(&self, memory: Memory, bytes: &[u8]) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the buffer is live and as long as `bytes`, which the driver has read when the call returns because it is
        // pageable memory.
        let copied = unsafe { result::memcpy_htod_async(memory.address, bytes, self.stream.cu_stream()) };
        copied.map_err(|error| self.failed("copying to the GPU", error))
    }

    pub(super) fn read(&self, memory: Memory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the buffer is live and as long as `bytes`, which outlive the copy: the stream is waited for below.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, memory.address, self.stream.cu_stream()) };
        let waited = self.synchronize();
        copied.map_err(|error| self.failed("copying from the GPU", error))?;
        waited
    }

    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        self.stream.synchronize().map_err(|error| self.failed("waiting for the GPU", error))
    }

    /// # Safety
    /// As [`super::Executor::launch`], with `params` the bytes of the struct that the kernel takes.
    pub(super) unsafe fn launch<P>(&self, kernel: &Kernel<P>, grid: Grid, params: &[u8]) -> Result<(), DeviceError> {
        self.bind()?;
        let function = self.function(kernel)?;
        if grid.shared_bytes > DEFAULT_SHARED_BYTES {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is loaded and its module is never unloaded.
            unsafe { result::function::set_function_attribute(function, attribute, grid.shared_bytes as i32) }
                .map_err(|error| self.failed("asking for shared memory", error))?;
        }
        let [x, y, z] = grid.blocks;
        let mut arguments = [params.as_ptr().cast_mut().cast::<c_void>()];
        self.loaded().latest = Some(kernel.name());
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

    fn function<P>(&self, kernel: &Kernel<P>) -> Result<sys::CUfunction, DeviceError> {
        let mut loaded = self.loaded();
        if let Some(&function) = loaded.functions.get(kernel.name()) {
            return Ok(function);
        }
        let image: *const Image = kernel.image();
        let module = match loaded.modules.get(&(image as usize)) {
            Some(&module) => module,
            None => {
                let module = self.load(kernel)?;
                loaded.modules.insert(image as usize, module);
                module
            }
        };
        let name = CString::new(kernel.name()).unwrap_or_default();
        // SAFETY: the module was just loaded or found among the loaded ones, which stay.
        let function = unsafe { result::module::get_function(module, name) }
            .map_err(|error| driver_error("looking up a kernel", Some(kernel.name()), error))?;
        loaded.functions.insert(kernel.name(), function);
        Ok(function)
    }

    fn load<P>(&self, kernel: &Kernel<P>) -> Result<sys::CUmodule, DeviceError> {
        let (bytes, architectures) = match kernel.image().built {
            Built::Fatbin { bytes, architectures } => (bytes, architectures),
            Built::Not { reason } => return Err(kernel.not_built(reason)),
        };
        // The driver reads the image's headers as 64-bit words; embedded bytes have no alignment.
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        // SAFETY: the image is what nvcc wrote, whole and aligned; the driver copies what it keeps.
        unsafe { result::module::load_data(words.as_ptr().cast()) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            | sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | sys::CUresult::CUDA_ERROR_INVALID_PTX => DeviceError::Architecture {
                kernel: kernel.name(),
                built: architectures,
                gpu: self.gpu.name.clone(),
                compute_capability: self.gpu.compute_capability,
            },
            _ => driver_error("loading kernels", Some(kernel.name()), error),
        })
    }
}

fn driver_error(action: &'static str, kernel: Option<&'static str>, error: DriverError) -> DeviceError {
    let text = |name: Result<&std::ffi::CStr, DriverError>| name.map(|text| text.to_string_lossy().into_owned()).ok();
    let (name, description) = (text(error.error_name()), text(error.error_string()));
    DeviceError::Driver {
        action,
        code: name.unwrap_or_else(|| format!("error {}", error.0 as u32)),
        description: description.unwrap_or_default(),
        kernel: kernel.unwrap_or("none"),
    }
}
