//! Memory of an executor.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::Pod;

use super::Executor;
use super::command::Command;
use crate::{DType, DeviceError};

/// Bytes on a device. Clones and [views](DeviceBuffer::view) share them; the last owner gives them back to the executor's
/// pool.
///
/// Launches and copies happen in the order of the calls, so whoever reads a buffer sees what was written before. The `&mut`
/// of a function that launches kernels says what they write, not that nobody else holds the memory.
#[derive(Clone, Debug)]
pub struct DeviceBuffer {
    block: Arc<Block>,
    start: usize,
    len: usize,
}

/// Memory that its last owner gives back, unless the executor [keeps](Executor::constant) it.
#[derive(Debug)]
pub(super) struct Block {
    executor: Executor,
    address: u64,
    capacity: usize,
    is_kept: AtomicBool,
}

impl Block {
    /// Memory that the executor keeps.
    pub(super) fn kept(executor: Executor, address: u64, capacity: usize) -> Self {
        Self { executor, address, capacity, is_kept: AtomicBool::new(true) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if !*self.is_kept.get_mut() {
            self.executor.0.pool.give(self.address, self.capacity);
        }
    }
}

/// Where a part of a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) address: u64,
    pub(super) len: usize,
}

impl DeviceBuffer {
    /// The first `len` bytes of a block.
    pub(super) fn new(executor: Executor, address: u64, capacity: usize, len: usize) -> Self {
        Self::over(Arc::new(Block { executor, address, capacity, is_kept: AtomicBool::new(false) }), len)
    }

    /// The first `len` bytes of a block that others may share.
    pub(super) fn over(block: Arc<Block>, len: usize) -> Self {
        Self { block, start: 0, len }
    }

    /// Leaves the memory to the executor: its address and its capacity.
    pub(super) fn into_kept(self) -> (u64, usize) {
        self.block.is_kept.store(true, Ordering::Relaxed);
        (self.block.address, self.block.capacity)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory { address: self.address(), len: self.len }
    }

    /// The bytes `range` of it, shared.
    ///
    /// # Panics
    /// If the range is out of bounds, as slicing does.
    pub fn view(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "bytes {range:?} of a buffer of {}", self.len);
        Self { block: Arc::clone(&self.block), start: self.start + range.start, len: range.len() }
    }

    /// Where the buffer lies: what a parameter struct holds. Of an empty buffer, an address that nothing may read.
    pub fn address(&self) -> u64 {
        self.block.address + self.start as u64
    }

    /// Its length.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// Whether the buffer holds exactly `expected` elements of `dtype`.
    ///
    /// # Errors
    /// The number of elements it holds whole.
    pub fn expect_elements(&self, dtype: DType, expected: usize) -> Result<(), usize> {
        let fits = expected.checked_mul(dtype.size_bytes()) == Some(self.len);
        if fits { Ok(()) } else { Err(self.len / dtype.size_bytes()) }
    }

    /// The device it lies on.
    pub fn executor(&self) -> &Executor {
        &self.block.executor
    }

    /// Copies `values` into the buffer. When it returns they have been read, but may not have arrived.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if they are not exactly as long, [`DeviceError::Driver`] if the copy fails.
    pub fn write<T: Pod>(&mut self, values: &[T]) -> Result<(), DeviceError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        self.expect_len(bytes.len())?;
        self.executor().start_collected()?;
        self.executor().write(bytes, self.memory())
    }

    /// Waits for what was started and copies the buffer out.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if the buffer does not hold whole elements, [`DeviceError::Driver`] if the copy, or a
    /// launch before it, fails.
    pub fn read<T: Pod>(&self) -> Result<Vec<T>, DeviceError> {
        let mut values = vec![T::zeroed(); self.len / size_of::<T>()];
        self.read_into(&mut values)?;
        Ok(values)
    }

    /// As [`DeviceBuffer::read`], into `values`.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if they are not exactly as long; otherwise as [`DeviceBuffer::read`].
    pub fn read_into<T: Pod>(&self, values: &mut [T]) -> Result<(), DeviceError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
        self.expect_len(bytes.len())?;
        self.executor().start_collected()?;
        self.executor().0.exchanges.wait();
        self.executor().0.kind.read(self.memory(), bytes)
    }

    /// Sets every byte to zero.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if it fails.
    pub fn zero(&mut self) -> Result<(), DeviceError> {
        match self.len {
            0 => Ok(()),
            // SAFETY: no kernel runs.
            _ => unsafe { self.executor().perform(Command::Zero(self.memory())) },
        }
    }

    /// Copies `from`, which may not overlap it, into the buffer.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if it is not exactly as long, [`DeviceError::MixedExecutors`] if it lies on another
    /// device, [`DeviceError::Driver`] if the copy fails.
    pub fn copy_from(&mut self, from: &DeviceBuffer) -> Result<(), DeviceError> {
        self.expect_len(from.len)?;
        let (executor, from, to) = (Executor::of(self, [from])?, from.memory(), self.memory());
        match self.len {
            0 => Ok(()),
            // SAFETY: no kernel runs.
            _ => unsafe { executor.perform(Command::Copy { from, to }) },
        }
    }

    fn expect_len(&self, host: usize) -> Result<(), DeviceError> {
        if host == self.len { Ok(()) } else { Err(DeviceError::BufferLength { buffer: self.len, host }) }
    }
}
