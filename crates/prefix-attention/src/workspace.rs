//! Memory that tasks work in.

use std::sync::{Mutex, PoisonError};

use device::{Buffer, DType, Device, DeviceError};

/// One pooled buffer for each thread of the current pool. How many there are changes nothing in a result.
pub(crate) struct Workspaces(Vec<Mutex<Buffer>>);

impl Workspaces {
    pub(crate) fn new(len: usize) -> Result<Self, DeviceError> {
        let buffer = || Ok(Mutex::new(Buffer::scratch(Device::Cpu, DType::F32, len)?));
        Ok(Self((0..rayon::current_num_threads()).map(|_| buffer()).collect::<Result<_, _>>()?))
    }

    /// Runs `task` in this thread's memory, whose values are unspecified. No other task runs on the thread meanwhile, so
    /// the lock is free.
    pub(crate) fn with<R>(&self, task: impl FnOnce(&mut [f32]) -> R) -> R {
        let slot = &self.0[rayon::current_thread_index().unwrap_or(0) % self.0.len()];
        let mut buffer = slot.lock().unwrap_or_else(PoisonError::into_inner);
        task(buffer.f32_mut().expect("allocated as f32"))
    }
}

/// Cuts the next `len` elements off `rest`.
pub(crate) fn carve<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    part
}

/// A result that tasks write to at places of their own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrow: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: access goes through `Shared::part`, whose caller vouches that no two tasks touch the same elements.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: std::marker::PhantomData }
    }

    /// The elements `start..start + len`.
    ///
    /// # Safety
    /// No other part that contains one of them is alive.
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "part {start} + {len} of {}", self.len);
        // SAFETY: within the borrowed slice, as just checked, and exclusive, as the caller vouches.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
