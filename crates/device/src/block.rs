//! Owned, pooled, aligned memory of the host.

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::{DeviceError, pool};

/// Cache line, and the widest vector register.
const ALIGNMENT: usize = 64;
/// Blocks from this size on are mapped by themselves, on huge pages where the system has them.
const HUGE_PAGE: usize = 2 << 20;

/// Memory owned by the pool or by a [`Buffer`](crate::Buffer); always initialised.
pub(crate) struct Block {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a `Block` owns its memory exclusively, as a `Box<[u8]>` does.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    /// Zeroed memory, or `None` if the system has none.
    pub(crate) fn allocate(capacity: usize) -> Option<Self> {
        let start = if capacity < HUGE_PAGE {
            let layout = Layout::from_size_align(capacity, ALIGNMENT).ok()?;
            // SAFETY: `capacity` is not zero: the smallest size class is 256 bytes.
            unsafe { std::alloc::alloc_zeroed(layout) }
        } else {
            map_pages(capacity)?
        };
        Some(Self { start: NonNull::new(start)?, capacity })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is initialised, as long as this, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.capacity) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.capacity < HUGE_PAGE {
            let layout = Layout::from_size_align(self.capacity, ALIGNMENT).expect("was valid at allocation");
            // SAFETY: allocated in `allocate` with this layout, and dropped once.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) }
        } else {
            // SAFETY: mapped in `map_pages` with this length, and dropped once.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
        }
    }
}

/// Anonymous zero pages; `None` if the system refuses. They are touched, and so become resident, when first written.
fn map_pages(len: usize) -> Option<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range was just mapped. Advice may be refused; then pages are small, which is only slower.
    unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
    Some(start.cast())
}

/// A block that the pool gets back. There is one for as long as it lives.
pub(crate) struct HostBlock(Option<Block>);

impl HostBlock {
    /// At least `len` bytes of the pool.
    pub(crate) fn take(len: usize) -> Result<Self, DeviceError> {
        Ok(Self(Some(pool::take(len)?)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Block::bytes)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], Block::bytes_mut)
    }
}

impl Drop for HostBlock {
    fn drop(&mut self) {
        if let Some(block) = self.0.take() {
            pool::give(block);
        }
    }
}
