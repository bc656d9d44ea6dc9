//! Memory of an executor: out of its pool, within a limit, and filled from the host.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytemuck::Pod;

use super::command::Command;
use super::ring::Ring;
use super::{DeviceBuffer, Executor, Inner, PoolStats, buffer};
use crate::{Device, DeviceError};

/// Page-locked memory that small copies to a device go through, twice: what one holds until the GPU has read it.
const RING_BYTES: usize = 1 << 20;

impl Executor {
    /// Memory that nothing was written to, out of the pool if it has a block of this size. On the emulator it reads as NaN.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`], or [`DeviceError::Driver`] with what the driver says.
    pub fn allocate(&self, len_bytes: usize) -> Result<DeviceBuffer, DeviceError> {
        let buffer = self.take(len_bytes, false)?;
        if self.0.kind.poisons() {
            // SAFETY: no kernel runs.
            unsafe { self.perform(Command::Prepare(buffer.memory())) }?;
        }
        Ok(buffer)
    }

    /// A block for `len_bytes`, which a copy from the host may be for.
    fn take(&self, len_bytes: usize, is_for_copy: bool) -> Result<DeviceBuffer, DeviceError> {
        let pool = &self.0.pool;
        let capacity = crate::pool::size_class(len_bytes)
            .ok_or_else(|| DeviceError::OutOfMemory { device: self.device().to_string(), bytes: len_bytes })?;
        let taken = if is_for_copy { pool.take_for_copy(capacity) } else { pool.take(capacity) };
        let (address, capacity) = match taken {
            Some(block) => block,
            None => {
                let address = match self.allocate_block(capacity) {
                    Err(DeviceError::OutOfMemory { .. }) => {
                        self.trim()?;
                        self.0.graphs.forget();
                        self.allocate_block(capacity)
                    }
                    allocated => allocated,
                }?;
                pool.count(address, capacity, is_for_copy);
                (address, capacity)
            }
        };
        Ok(DeviceBuffer::new(self.clone(), address, capacity, len_bytes))
    }

    /// A block that the pool does not have, within the limit.
    fn allocate_block(&self, capacity: usize) -> Result<u64, DeviceError> {
        let PoolStats { live_bytes, free_bytes, .. } = self.pool_stats();
        let limit = self.0.limit.load(Ordering::Relaxed);
        if live_bytes.saturating_add(free_bytes).saturating_add(capacity) > limit {
            return Err(DeviceError::OutOfMemory { device: self.device().to_string(), bytes: capacity });
        }
        self.0.kind.allocate(capacity)
    }

    /// Takes no more than `bytes` of the device's memory from now on.
    pub fn limit_memory(&self, bytes: usize) {
        self.0.limit.store(bytes, Ordering::Relaxed);
    }

    /// Memory of the device that can still be taken: what it has free, within the limit; `None` if nobody knows.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if the driver does not tell.
    pub fn available_bytes(&self) -> Result<Option<usize>, DeviceError> {
        let PoolStats { live_bytes, free_bytes, .. } = self.pool_stats();
        let limit = match self.0.limit.load(Ordering::Relaxed) {
            usize::MAX => None,
            limit => Some(limit.saturating_sub(live_bytes)),
        };
        let of_device = self.0.kind.free_bytes()?.map(|free| free + free_bytes);
        Ok(of_device.into_iter().chain(limit).min())
    }

    /// Counts peaks of memory anew.
    pub fn reset_peaks(&self) {
        self.0.pool.reset_peaks();
        self.0.page_locked.reset_peak();
    }

    /// Gives every free block of the pool back to the device, and those of the host that nothing is offloaded to: between phases with different needs.
    ///
    /// # Errors
    /// Those of launches that were [collected](Executor::in_graphs).
    pub fn trim(&self) -> Result<(), DeviceError> {
        self.start_collected()?;
        self.0.host_blocks.drain();
        self.0.pool.drain().into_iter().for_each(|address| self.0.kind.free(address));
        Ok(())
    }

    /// What the pool holds and has done.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.pool.stats()
    }

    /// Memory that holds `values`.
    ///
    /// # Errors
    /// As [`Executor::allocate`].
    pub fn upload<T: Pod>(&self, values: &[T]) -> Result<DeviceBuffer, DeviceError> {
        let buffer = self.take(size_of_val(values), true)?;
        if self.0.kind.poisons() {
            // SAFETY: no kernel runs, and none that was collected reads the block.
            unsafe { self.0.kind.run(&Command::Prepare(buffer.memory())) }?;
        }
        self.write(bytemuck::cast_slice(values), buffer.memory())?;
        Ok(buffer)
    }

    /// Copies `bytes` to memory that is as long and that nothing reads which was collected.
    pub(super) fn write(&self, bytes: &[u8], to: buffer::Memory) -> Result<(), DeviceError> {
        let Inner { kind, ring, exchanges, .. } = &*self.0;
        exchanges.upload();
        // Between two copies it is whole whatever has panicked.
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match &mut *ring {
            Some(ring) => ring,
            none => none.insert(Ring::new(self, RING_BYTES)?),
        };
        match self.device() {
            Device::Dry(_) => Ok(()),
            _ => ring.copy(kind, bytes, to),
        }
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_again_and_reads_as_if_it_were_new() {
        let executor = Executor::emulated(0);
        let address = executor.upload(&[1.0f32; 100]).unwrap().address();
        let again = executor.allocate(396).unwrap();
        assert_eq!((again.address(), executor.pool_stats().blocks_allocated), (address, 1));
        assert!(again.read::<f32>().unwrap().iter().all(|value| value.is_nan()));
        drop(again);
        executor.trim().unwrap();
        assert_eq!(executor.pool_stats().free_bytes, 0);
        executor.allocate(400).unwrap();
        assert_eq!(executor.pool_stats().blocks_allocated, 2);
    }

    #[test]
    fn no_more_is_taken_than_the_limit() {
        let executor = Executor::emulated(0);
        assert_eq!(executor.available_bytes().unwrap(), None);
        executor.limit_memory(4096);
        let first = executor.allocate(2048).unwrap();
        drop(executor.allocate(1024).unwrap());
        assert_eq!(executor.available_bytes().unwrap(), Some(2048));
        // What is kept for reuse makes room.
        let second = executor.allocate(2048).unwrap();
        let refused = executor.allocate(256).unwrap_err();
        assert!(
            matches!(&refused, DeviceError::OutOfMemory { device, bytes: 256 } if device == "emulated"),
            "{refused}"
        );
        drop((first, second));
        assert_eq!(executor.pool_stats().peak_live_bytes, 4096);
        executor.reset_peaks();
        assert_eq!(executor.pool_stats().peak_live_bytes, 0);
    }

    #[test]
    fn views_share_memory_and_keep_it() {
        let executor = Executor::emulated(0);
        let all = executor.upload(&[1.0f32, 2.0, 3.0, 4.0]).unwrap();
        let mut middle = all.view(4..12);
        middle.write(&[20.0f32, 30.0]).unwrap();
        assert_eq!(all.read::<f32>().unwrap(), [1.0, 20.0, 30.0, 4.0]);
        middle.view(4..8).zero().unwrap();
        let last = all.view(12..16);
        middle.view(0..4).copy_from(&last).unwrap();
        all.view(0..0).zero().unwrap();
        assert_eq!(all.read::<f32>().unwrap(), [1.0, 4.0, 0.0, 4.0]);
        drop(all);
        assert_eq!(middle.read::<f32>().unwrap(), [4.0, 0.0]);
        assert_eq!(executor.pool_stats().live_bytes, 256);
        assert!(matches!(middle.copy_from(&last), Err(DeviceError::BufferLength { buffer: 8, host: 4 })));
        let elsewhere = Executor::emulated(0).upload(&[0.0f32; 2]).unwrap();
        assert!(matches!(middle.copy_from(&elsewhere), Err(DeviceError::MixedExecutors)));
    }
}
