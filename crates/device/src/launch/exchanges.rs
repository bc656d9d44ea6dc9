//! How often the host and the device had to do with each other.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Executor;

/// Counts since an executor was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanges {
    /// Times that the host waited for everything that was started: for what it reads back, and by itself.
    pub waits: u64,
    /// Copies from the host's memory.
    pub uploads: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    waits: AtomicU64,
    uploads: AtomicU64,
}

impl Counters {
    pub(super) fn wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn upload(&self) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
    }
}

impl Executor {
    /// What was exchanged with the host so far.
    pub fn exchanges(&self) -> Exchanges {
        let Counters { waits, uploads } = &self.0.exchanges;
        Exchanges { waits: waits.load(Ordering::Relaxed), uploads: uploads.load(Ordering::Relaxed) }
    }
}
