//! Copies between the GPU and page-locked memory, on a stream beside that of the kernels.

use cudarc::driver::{CudaEvent, sys};

use super::{Cuda, Pinned};
use crate::DeviceError;
use crate::launch::buffer::Memory;

/// Nobody asks when a copy ended.
const UNTIMED: Option<sys::CUevent_flags> = Some(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);

impl Cuda {
    /// Starts to copy `from` to page-locked memory that is at least as long, once the kernels so far have ended.
    pub(in crate::launch) fn copy_out(&self, from: Memory, to: &mut Pinned) -> Result<CudaEvent, DeviceError> {
        let copies = self.after_kernels()?;
        // SAFETY: the buffer is live, and until `follow` neither it is given to anyone else nor the page-locked memory used.
        let copied = unsafe { to.copy_from(from, copies) };
        copied.map_err(|error| self.failed("copying from the GPU", error))?;
        self.copied()
    }

    /// Starts to copy page-locked memory to `to`, once the kernels so far have ended.
    pub(in crate::launch) fn copy_back(&self, from: &Pinned, to: Memory) -> Result<CudaEvent, DeviceError> {
        let copies = self.after_kernels()?;
        // SAFETY: as above.
        let copied = unsafe { from.copy_to(to, 0, copies) };
        copied.map_err(|error| self.failed("copying to the GPU", error))?;
        self.copied()
    }

    /// Has the kernels from here on wait for a copy.
    pub(in crate::launch) fn follow(&self, copied: &CudaEvent) -> Result<(), DeviceError> {
        self.stream.wait(copied).map_err(|error| self.failed("waiting for a copy", error))
    }

    /// The stream of copies, from here on behind the kernels so far.
    fn after_kernels(&self) -> Result<sys::CUstream, DeviceError> {
        self.bind()?;
        let started = self.stream.record_event(UNTIMED).and_then(|kernels| self.copies.wait(&kernels));
        started.map_err(|error| self.failed("ordering a copy", error))?;
        Ok(self.copies.cu_stream())
    }

    fn copied(&self) -> Result<CudaEvent, DeviceError> {
        self.copies.record_event(UNTIMED).map_err(|error| self.failed("recording an event", error))
    }
}
