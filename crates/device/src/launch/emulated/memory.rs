//! Device memory on the host: each buffer between guards.

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

/// One buffer with its guards: `GUARD` bytes, `len` bytes, `GUARD` bytes.
#[derive(Debug)]
struct Allocation {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: an allocation owns its memory, and every access goes through the lock of `Allocations` or is a kernel's.
unsafe impl Send for Allocation {}

impl Allocation {
    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_add(2 * GUARD)?, ALIGNMENT).ok()
    }

    fn new(len: usize) -> Option<Self> {
        let layout = Self::layout(len)?;
        // SAFETY: the layout has at least the guards' size.
        let base = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        // SAFETY: the memory was just allocated with that size.
        unsafe { base.write_bytes(POISON, layout.size()) };
        Some(Self { base, len })
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
        let behind = unsafe { std::slice::from_raw_parts_mut(self.data().add(self.len).as_ptr(), GUARD) };
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
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { std::alloc::dealloc(self.base.as_ptr(), layout) };
        }
    }
}

impl Allocations {
    /// A poisoned buffer, or `None` where there is no memory.
    pub(super) fn allocate(&mut self, len: usize) -> Option<u64> {
        let allocation = Allocation::new(len)?;
        let address = allocation.data().as_ptr() as u64;
        self.0.insert(address, allocation);
        Some(address)
    }

    pub(super) fn free(&mut self, address: u64) {
        self.0.remove(&address);
    }

    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) {
        if let Some(allocation) = self.0.get_mut(&address) {
            let len = bytes.len().min(allocation.len);
            // SAFETY: `len` bytes from the start lie within the buffer.
            unsafe { allocation.data().copy_from_nonoverlapping(NonNull::from(bytes).cast(), len) };
        }
    }

    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) {
        if let Some(allocation) = self.0.get(&address) {
            let len = bytes.len().min(allocation.len);
            // SAFETY: `len` bytes from the start lie within the buffer, which is initialised.
            unsafe { allocation.data().copy_to_nonoverlapping(NonNull::from(bytes).cast(), len) };
        }
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
