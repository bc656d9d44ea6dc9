//! Device memory on the host: each buffer between guards.
//!
//! A block that is taken again by a shorter buffer guards what is left of it too, and reads as if nothing had been written.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use crate::launch::POISON;

/// Bytes before and behind each buffer: more than a tile of rows that overruns a test's matrix.
const GUARD: usize = 64 << 10;
/// As `cudaMalloc` aligns.
const ALIGNMENT: usize = 256;

/// The live buffers, by address.
#[derive(Debug, Default)]
pub(super) struct Allocations(BTreeMap<u64, Allocation>);

/// One block with its guards: `GUARD` bytes, `capacity` bytes, `GUARD` bytes. The buffer in it takes the first `len`.
#[derive(Debug)]
struct Allocation {
    base: NonNull<u8>,
    capacity: usize,
    len: usize,
}

// SAFETY: an allocation owns its memory, and every access goes through the lock of `Allocations` or is a kernel's.
unsafe impl Send for Allocation {}

impl Allocation {
    fn layout(capacity: usize) -> Option<Layout> {
        Layout::from_size_align(capacity.checked_add(2 * GUARD)?, ALIGNMENT).ok()
    }

    fn new(capacity: usize) -> Option<Self> {
        let layout = Self::layout(capacity)?;
        // SAFETY: the layout has at least the guards' size.
        let base = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        Some(Self { base, capacity, len: 0 })
    }

    fn prepare(&mut self, len: usize) {
        self.len = len.min(self.capacity);
        // SAFETY: the allocation has that size, and nobody refers to a block that is being taken.
        unsafe { self.base.write_bytes(POISON, self.capacity + 2 * GUARD) };
    }

    fn data(&self) -> NonNull<u8> {
        // SAFETY: the data begins within the allocation.
        unsafe { self.base.add(GUARD) }
    }

    /// Says where a guard was written, and restores it.
    fn damage(&mut self) -> Option<String> {
        // SAFETY: the guard before the data, which no one else refers to.
        let before = unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), GUARD) };
        // SAFETY: the guard behind the data, likewise.
        let behind = unsafe {
            std::slice::from_raw_parts_mut(self.data().add(self.len).as_ptr(), self.capacity - self.len + GUARD)
        };
        let below =
            before.iter().position(|&byte| byte != POISON).map(|i| format!("{} bytes before the start", GUARD - i));
        let above = behind.iter().position(|&byte| byte != POISON).map(|i| format!("{i} bytes behind the end"));
        before.fill(POISON);
        behind.fill(POISON);
        above.or(below)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.capacity) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { std::alloc::dealloc(self.base.as_ptr(), layout) };
        }
    }
}

impl Allocations {
    /// A block, to be prepared, or `None` where there is no memory.
    pub(super) fn allocate(&mut self, capacity: usize) -> Option<u64> {
        let allocation = Allocation::new(capacity)?;
        let address = allocation.data().as_ptr() as u64;
        self.0.insert(address, allocation);
        Some(address)
    }

    /// Makes the first `len` bytes of a block a poisoned buffer.
    pub(super) fn prepare(&mut self, address: u64, len: usize) {
        if let Some(allocation) = self.0.get_mut(&address) {
            allocation.prepare(len);
        }
    }

    pub(super) fn free(&mut self, address: u64) {
        self.0.remove(&address);
    }

    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) {
        if let Some((data, len)) = self.within(address) {
            // SAFETY: at most `len` bytes from `data` on lie within the buffer.
            unsafe { data.copy_from_nonoverlapping(NonNull::from(bytes).cast(), len.min(bytes.len())) };
        }
    }

    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) {
        if let Some((data, len)) = self.within(address) {
            // SAFETY: at most `len` bytes from `data` on lie within the buffer, which is initialised.
            unsafe { data.copy_to_nonoverlapping(NonNull::from(&mut *bytes).cast(), len.min(bytes.len())) };
        }
    }

    /// Where an address in a buffer is, and how many bytes of the buffer follow.
    fn within(&self, address: u64) -> Option<(NonNull<u8>, usize)> {
        let (&start, allocation) = self.0.range(..=address).next_back()?;
        let offset = usize::try_from(address - start).ok().filter(|&offset| offset <= allocation.len)?;
        // SAFETY: the offset lies within the buffer or at its end.
        Some((unsafe { allocation.data().add(offset) }, allocation.len - offset))
    }

    /// Looks at the guards of the buffers that `params` point into: each 64-bit word that is an address in a live buffer.
    pub(super) fn damage(&mut self, params: &[u64]) -> Option<String> {
        let mut found = None;
        for (word, &address) in params.iter().enumerate() {
            let Some((&start, allocation)) = self.0.range_mut(..=address).next_back() else { continue };
            if address - start <= allocation.len as u64
                && let Some(place) = allocation.damage()
            {
                found = found.or(Some(format!(
                    "it wrote {place} of the buffer of {} bytes whose address is at byte {} of its parameters",
                    allocation.len,
                    8 * word
                )));
            }
        }
        found
    }
}
