//! Owned, pooled, aligned memory.

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::{DType, Device, DeviceError, Element, Elements, ElementsMut, pool};

/// Cache line, and the widest vector register.
const ALIGNMENT: usize = 64;
/// Blocks from this size on are mapped by themselves, on huge pages where the system has them.
const HUGE_PAGE: usize = 2 << 20;

/// Memory owned by the pool or by a [`Buffer`]; always initialised.
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

/// Elements of one dtype on one device. Dropping it returns the memory to the [`pool`].
pub struct Buffer {
    block: Option<Block>,
    dtype: DType,
    len: usize,
}

impl Buffer {
    /// `len` elements whose values are unspecified (zero, or what an earlier buffer held): for results that are
    /// overwritten in full.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    pub fn scratch(device: Device, dtype: DType, len: usize) -> Result<Self, DeviceError> {
        let Device::Cpu = device;
        let bytes = len
            .checked_mul(dtype.size_bytes())
            .ok_or_else(|| DeviceError::OutOfMemory { device: device.to_string(), bytes: usize::MAX })?;
        // Even an empty buffer has a block, so that its start is aligned for every element type.
        Ok(Self { block: Some(pool::take(bytes)?), dtype, len })
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    pub fn zeroed(device: Device, dtype: DType, len: usize) -> Result<Self, DeviceError> {
        let mut buffer = Self::scratch(device, dtype, len)?;
        buffer.bytes_mut().fill(0);
        Ok(buffer)
    }

    /// A copy of `values` in f32.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    pub fn from_f32(device: Device, values: &[f32]) -> Result<Self, DeviceError> {
        let mut buffer = Self::scratch(device, DType::F32, values.len())?;
        buffer.f32_mut()?.copy_from_slice(values);
        Ok(buffer)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        Device::Cpu
    }

    /// The elements as `T`.
    ///
    /// # Errors
    /// [`DeviceError::DType`] if it holds another type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], DeviceError> {
        self.expect(T::DTYPE)?;
        Ok(bytemuck::cast_slice(self.bytes()))
    }

    /// The elements as mutable `T`.
    ///
    /// # Errors
    /// [`DeviceError::DType`] if it holds another type.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], DeviceError> {
        self.expect(T::DTYPE)?;
        Ok(bytemuck::cast_slice_mut(self.bytes_mut()))
    }

    /// [`Buffer::as_slice`] of f32.
    ///
    /// # Errors
    /// [`DeviceError::DType`] if it holds another type.
    pub fn f32(&self) -> Result<&[f32], DeviceError> {
        self.as_slice()
    }

    /// [`Buffer::as_mut_slice`] of f32.
    ///
    /// # Errors
    /// [`DeviceError::DType`] if it holds another type.
    pub fn f32_mut(&mut self) -> Result<&mut [f32], DeviceError> {
        self.as_mut_slice()
    }

    /// The elements with their type.
    pub fn elements(&self) -> Elements<'_> {
        match self.dtype {
            DType::F32 => Elements::F32(bytemuck::cast_slice(self.bytes())),
            DType::BF16 => Elements::BF16(bytemuck::cast_slice(self.bytes())),
            DType::F16 => Elements::F16(bytemuck::cast_slice(self.bytes())),
        }
    }

    /// The elements, to write, with their type.
    pub fn elements_mut(&mut self) -> ElementsMut<'_> {
        match self.dtype {
            DType::F32 => ElementsMut::F32(bytemuck::cast_slice_mut(self.bytes_mut())),
            DType::BF16 => ElementsMut::BF16(bytemuck::cast_slice_mut(self.bytes_mut())),
            DType::F16 => ElementsMut::F16(bytemuck::cast_slice_mut(self.bytes_mut())),
        }
    }

    fn expect(&self, expected: DType) -> Result<(), DeviceError> {
        if expected == self.dtype { Ok(()) } else { Err(DeviceError::DType { expected, got: self.dtype }) }
    }

    fn bytes(&self) -> &[u8] {
        match &self.block {
            None => &[],
            // SAFETY: the block is initialised, at least this long, and borrowed with `self`.
            Some(b) => unsafe { std::slice::from_raw_parts(b.start.as_ptr(), self.len * self.dtype.size_bytes()) },
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.block {
            None => &mut [],
            // SAFETY: as above, and `&mut self` makes the access exclusive.
            Some(b) => unsafe { std::slice::from_raw_parts_mut(b.start.as_ptr(), self.len * self.dtype.size_bytes()) },
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            pool::give(block);
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} x {})", self.len, self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused_and_aligned() {
        // A size that no other test of this process asks for.
        let len = 1_234_567;
        let address = {
            let buffer = Buffer::zeroed(Device::Cpu, DType::F32, len).unwrap();
            assert!(buffer.f32().unwrap().iter().all(|&x| x == 0.0));
            buffer.f32().unwrap().as_ptr() as usize
        };
        assert_eq!(address % ALIGNMENT, 0);
        let again = Buffer::scratch(Device::Cpu, DType::F32, len).unwrap();
        assert_eq!(again.f32().unwrap().as_ptr() as usize, address);
        assert!(matches!(again.as_slice::<half::bf16>(), Err(DeviceError::DType { .. })));
    }

    #[test]
    fn empty_and_impossible_sizes() {
        assert!(Buffer::zeroed(Device::Cpu, DType::F32, 0).unwrap().f32().unwrap().is_empty());
        assert!(matches!(Buffer::scratch(Device::Cpu, DType::F32, usize::MAX), Err(DeviceError::OutOfMemory { .. })));
        assert!(matches!(Buffer::scratch(Device::Cpu, DType::F32, 1 << 58), Err(DeviceError::OutOfMemory { .. })));
    }
}
