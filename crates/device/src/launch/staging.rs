//! Copies from pageable host memory, such as a mapped file, that overlap with reading it.
//!
//! Bytes pass through two page-locked halves: while the GPU reads one, the host fills the other. So pages of a file are read from
//! the disk while those before them are on the bus, and the host's memory grows by the two halves only.

use super::ring::Ring;
use super::{DeviceBuffer, Executor};
use crate::{Device, DeviceError};

/// Two page-locked buffers that copies to an executor take turns in.
#[derive(Debug)]
pub struct Staging {
    executor: Executor,
    ring: Ring,
}

impl Staging {
    /// Halves of `half_bytes`, at least one, for copies to `executor`.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if the memory cannot be page-locked.
    pub fn new(executor: &Executor, half_bytes: usize) -> Result<Self, DeviceError> {
        Ok(Self { executor: executor.clone(), ring: Ring::new(executor, half_bytes)? })
    }

    /// Where copies go.
    pub fn device(&self) -> Device {
        self.executor.device()
    }

    /// Copies `bytes` into `to`, in the order of the executor's launches. When it returns the bytes have been read, but not all
    /// have arrived.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] if they are not exactly as long, [`DeviceError::MixedExecutors`] if the buffer is another
    /// executor's, [`DeviceError::Driver`] if a copy fails.
    pub fn upload(&mut self, bytes: &[u8], to: &mut DeviceBuffer) -> Result<(), DeviceError> {
        if !to.executor().is(&self.executor) {
            return Err(DeviceError::MixedExecutors);
        }
        if bytes.len() != to.len_bytes() {
            return Err(DeviceError::BufferLength { buffer: to.len_bytes(), host: bytes.len() });
        }
        self.executor.start_collected()?;
        // What nobody keeps need not be read from the disk.
        if let Device::Dry(_) = self.executor.device() {
            return Ok(());
        }
        self.executor.0.exchanges.upload();
        self.ring.copy(&self.executor.0.kind, bytes, to.memory())
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_whatever_the_halves() {
        let executor = Executor::emulated(0);
        let values: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        for half_bytes in [0, 1, 7, 500, 999, 1000, 5000] {
            let mut staging = Staging::new(&executor, half_bytes).unwrap();
            for len in [0, 1, 999, 1000] {
                let mut buffer = executor.allocate(len).unwrap();
                staging.upload(&values[..len], &mut buffer).unwrap();
                assert_eq!(buffer.read::<u8>().unwrap(), values[..len], "{half_bytes} {len}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let executor = Executor::emulated(0);
        let mut staging = Staging::new(&executor, 8).unwrap();
        let mut buffer = executor.allocate(4).unwrap();
        let refused = staging.upload(&[0; 5], &mut buffer);
        assert!(matches!(refused, Err(DeviceError::BufferLength { buffer: 4, host: 5 })));
        let mut elsewhere = Executor::emulated(0).allocate(4).unwrap();
        assert!(matches!(staging.upload(&[0; 4], &mut elsewhere), Err(DeviceError::MixedExecutors)));
    }
}
