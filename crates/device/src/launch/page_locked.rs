//! Page-locked memory of the host, counted: the system cannot take it back while it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Executor;
use super::kind::HostMemory;
use crate::DeviceError;

/// A zeroed block that the device reads and writes while the host goes on.
#[derive(Debug, Default)]
pub(super) struct PageLocked {
    pub(super) memory: HostMemory,
    len: usize,
    counts: Arc<Counts>,
}

/// Bytes of an executor.
#[derive(Debug, Default)]
pub(super) struct Counts {
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl Counts {
    fn add(&self, len: usize) {
        let held = self.held.fetch_add(len, Ordering::Relaxed) + len;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    pub(super) fn reset_peak(&self) {
        self.peak.store(self.held.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Executor {
    /// A block of `len` bytes.
    pub(super) fn page_lock(&self, len: usize) -> Result<PageLocked, DeviceError> {
        let memory = self.0.kind.host_memory(len)?;
        let counts = Arc::clone(&self.0.page_locked);
        counts.add(len);
        Ok(PageLocked { memory, len, counts })
    }

    /// The most page-locked memory of the host that was held at a time, in bytes: what copies to the device pass through, and what
    /// was [offloaded](super::Offloaded).
    pub fn peak_page_locked_bytes(&self) -> usize {
        self.0.page_locked.peak.load(Ordering::Relaxed)
    }
}

impl Drop for PageLocked {
    fn drop(&mut self) {
        self.counts.held.fetch_sub(self.len, Ordering::Relaxed);
    }
}
