//! Asynchronous copies, which land as late as they may.

use std::collections::VecDeque;

use crate::launch::POISON;

/// One `cp.async`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) shared: *mut u8,
    pub(super) global: *const u8,
    pub(super) bytes: usize,
    pub(super) zero_bytes: usize,
}

impl Copy {
    /// Makes what was at the destination unreadable.
    ///
    /// # Safety
    /// The destination is writable.
    pub(super) unsafe fn begin(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.shared.write_bytes(POISON, self.bytes + self.zero_bytes) };
    }

    /// # Safety
    /// The source is readable and the destination writable.
    pub(super) unsafe fn land(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.shared.copy_from(self.global, self.bytes);
            self.shared.add(self.bytes).write_bytes(0, self.zero_bytes);
        }
    }
}

/// Copies under way: closed groups, oldest first, and the group that is still open.
#[derive(Debug, Default)]
pub(super) struct Copies {
    groups: VecDeque<Vec<Copy>>,
    open: Vec<Copy>,
}

impl Copies {
    /// Starts a copy. What was at its destination is gone from now on.
    ///
    /// # Safety
    /// The addresses stay readable and writable for the copy's length until it has landed.
    pub(super) unsafe fn start(&mut self, copy: Copy) {
        // SAFETY: the caller's promise.
        unsafe { copy.begin() };
        self.open.push(copy);
    }

    /// Closes the open group, which may be empty.
    pub(super) fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
    }

    /// Lands all closed groups but the latest `pending`.
    pub(super) fn wait(&mut self, pending: usize) {
        while self.groups.len() > pending {
            for copy in self.groups.pop_front().unwrap_or_default() {
                // SAFETY: what the caller of `start` promised holds until the copy lands, which is now.
                unsafe { copy.land() };
            }
        }
    }
}
