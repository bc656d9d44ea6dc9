//! Page-locked host memory, which the GPU reads and writes while the host goes on.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::Cuda;
use crate::DeviceError;
use crate::launch::buffer::Memory;

/// Zeroed bytes.
#[derive(Debug)]
pub(in crate::launch) struct Pinned {
    context: Arc<CudaContext>,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its memory, as a `Box<[u8]>` does.
unsafe impl Send for Pinned {}

impl Cuda {
    pub(in crate::launch) fn pinned(&self, len: usize) -> Result<Pinned, DeviceError> {
        self.bind()?;
        // The driver refuses an empty allocation.
        // SAFETY: the memory is set below, before anyone reads it.
        let start = unsafe { result::malloc_host(len.max(1), 0) };
        let start = start.map_err(|error| self.failed("page-locking memory", error))?.cast();
        let start = NonNull::new(start).ok_or_else(|| self.failed("page-locking memory", OUT_OF_MEMORY))?;
        // SAFETY: the memory was just allocated with that length.
        unsafe { start.write_bytes(0, len) };
        Ok(Pinned { context: Arc::clone(&self.context), start, len })
    }
}

const OUT_OF_MEMORY: DriverError = DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);

impl Pinned {
    pub(in crate::launch) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is initialised, that long, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// # Safety
    /// The bytes must not change before the copy has ended, and `memory` must be live.
    pub(super) unsafe fn copy_to(
        &self,
        memory: Memory,
        start: usize,
        stream: sys::CUstream,
    ) -> Result<(), DriverError> {
        let start = start.min(self.len);
        let len = memory.len.min(self.len - start);
        // SAFETY: all bytes are initialised, and `len` of them follow `start`; the rest is the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(start), len) };
        // SAFETY: as above.
        unsafe { result::memcpy_htod_async(memory.address, bytes, stream) }
    }
}

impl Pinned {
    /// # Safety
    /// Neither memory may be used before the copy has ended, and `memory` must be live and no longer than this.
    pub(super) unsafe fn copy_from(&mut self, memory: Memory, stream: sys::CUstream) -> Result<(), DriverError> {
        let len = memory.len.min(self.len);
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtoh_async(&mut self.bytes_mut()[..len], memory.address, stream) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: allocated by `Cuda::pinned` and dropped once. The driver waits for copies that still read it.
            let _ = unsafe { result::free_host(self.start.as_ptr().cast::<c_void>()) };
        }
    }
}
