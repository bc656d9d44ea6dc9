//! Shared memory as the units see it that copy and multiply beside the threads: the asynchronous proxy.
//!
//! What such a unit copies there, threads and units see. What threads write, units see once it was shown to them by a fence; until
//! then they see what was there before. A fence shows what all threads have written, not the fencing one alone.

use super::copies::Copy;
use super::mbarrier::Mbarrier;
use super::shared::Shared;

/// A block's copies by the tensor memory accelerator, each with the barrier that counts its bytes, and what the units see.
#[derive(Debug)]
pub(super) struct Units {
    under_way: Vec<(*mut Mbarrier, Copy)>,
    /// The block's shared memory.
    shared: *mut u8,
    shared_len: usize,
    /// As the units see it, from their first use on.
    seen: Option<Shared>,
}

impl Units {
    /// Those of a block with this shared memory, of which they have seen nothing.
    pub(super) fn new(shared: *mut u8, shared_len: usize) -> Self {
        Self { under_way: Vec::new(), shared, shared_len, seen: None }
    }

    /// Shared memory as the units see it.
    pub(super) fn seen(&mut self) -> *mut u8 {
        let len = self.shared_len;
        let seen = self.seen.get_or_insert_with(|| {
            let mut seen = Shared::default();
            seen.reset(len);
            seen
        });
        seen.start()
    }

    /// Shows the units what threads have written.
    ///
    /// # Safety
    /// The block's shared memory is readable.
    pub(super) unsafe fn show(&mut self) {
        let seen = self.seen();
        // SAFETY: both have that length, and the caller vouches for the block's.
        unsafe { seen.copy_from_nonoverlapping(self.shared, self.shared_len) };
    }

    /// The same copy in what the units see.
    fn as_seen(&mut self, copy: Copy) -> Copy {
        let offset = copy.shared as usize - self.shared as usize;
        Copy { shared: self.seen().wrapping_add(offset), ..copy }
    }

    /// Starts a copy.
    ///
    /// # Safety
    /// As [`super::copies::Copies::start`], for the barrier too. The destination lies in the block's shared memory.
    pub(super) unsafe fn start(&mut self, barrier: *mut Mbarrier, copy: Copy) {
        // SAFETY: the caller's promise; the place that the units see is as long.
        unsafe {
            copy.begin();
            self.as_seen(copy).begin();
        }
        self.under_way.push((barrier, copy));
    }

    /// Lands the copies that `barrier` counts.
    pub(super) fn land(&mut self, barrier: *mut Mbarrier) -> Result<(), &'static str> {
        let landing: Vec<_> = self.under_way.extract_if(.., |(counted_by, _)| *counted_by == barrier).collect();
        for (_, copy) in landing {
            // SAFETY: what the caller of `start` promised.
            unsafe {
                copy.land();
                self.as_seen(copy).land();
                (*barrier).land((copy.bytes + copy.zero_bytes) as u32)?;
            }
        }
        Ok(())
    }
}
