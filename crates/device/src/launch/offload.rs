//! Device memory whose contents wait on the host while no kernel needs them.
//!
//! They are copied out to page-locked memory and back while kernels run, by a stream of copies beside theirs. The device waits
//! where it must, the host never:
//!
//! | call | who waits |
//! |---|---|
//! | [`DeviceBuffer::offload`] | the copy out for the launches so far |
//! | [`Offloaded::release`] | the launches from here on, which may be given the memory, for the copy out |
//! | [`Offloaded::fetch`] | the copy back for the launches so far, which may use the memory that it is given |
//! | [`Offloaded::take`] | the launches from here on for the copy back |

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::kind::Transfer;
use super::page_locked::PageLocked;
use super::{DeviceBuffer, Executor};
use crate::DeviceError;

/// Page-locked blocks that nobody uses, by size.
#[derive(Debug, Default)]
pub(super) struct HostBlocks(Mutex<BTreeMap<usize, Vec<PageLocked>>>);

impl HostBlocks {
    fn blocks(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<PageLocked>>> {
        // A list is whole whatever has panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all of them back to the system.
    pub(super) fn drain(&self) {
        self.blocks().clear();
    }
}

/// The contents of a buffer, on their way to the host, there, or on their way back.
#[derive(Debug)]
pub struct Offloaded {
    executor: Executor,
    len: usize,
    capacity: usize,
    host: PageLocked,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In this memory, or on the way to or from it.
    OnDevice(DeviceBuffer, Transfer),
    Away,
}

impl DeviceBuffer {
    /// Starts to copy the contents to the host. They must not change from now on.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] where no memory can be page-locked, or if something that was started failed.
    pub fn offload(&self) -> Result<Offloaded, DeviceError> {
        let (executor, len) = (self.executor().clone(), self.len_bytes());
        executor.start_collected()?;
        // As long as a buffer that exists.
        let capacity = crate::pool::size_class(len).unwrap_or(len);
        let free = executor.0.host_blocks.blocks().get_mut(&capacity).and_then(Vec::pop);
        let mut host = match free {
            Some(host) => host,
            None => executor.page_lock(capacity)?,
        };
        let copied = executor.0.kind.copy_out(self.memory(), &mut host.memory)?;
        Ok(Offloaded { executor, len, capacity, host, place: Place::OnDevice(self.clone(), copied) })
    }
}

impl Offloaded {
    /// Lets go of the device memory, which is given back if nobody else holds it.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if something that was started failed.
    pub fn release(&mut self) -> Result<(), DeviceError> {
        match mem::replace(&mut self.place, Place::Away) {
            Place::Away => Ok(()),
            // The buffer is dropped behind the wait.
            Place::OnDevice(_buffer, copied) => self.follow(copied),
        }
    }

    /// Starts to copy the contents back to the device, if they have left it.
    ///
    /// # Errors
    /// As [`Executor::allocate`].
    pub fn fetch(&mut self) -> Result<(), DeviceError> {
        if let Place::Away = self.place {
            let (buffer, copied) = self.copy_back()?;
            self.place = Place::OnDevice(buffer, copied);
        }
        Ok(())
    }

    /// The contents, in memory of the device.
    ///
    /// # Errors
    /// As [`Offloaded::fetch`].
    pub fn take(mut self) -> Result<DeviceBuffer, DeviceError> {
        let (buffer, copied) = match mem::replace(&mut self.place, Place::Away) {
            Place::Away => self.copy_back()?,
            Place::OnDevice(buffer, copied) => (buffer, copied),
        };
        self.follow(copied)?;
        Ok(buffer)
    }

    fn copy_back(&self) -> Result<(DeviceBuffer, Transfer), DeviceError> {
        let buffer = self.executor.allocate(self.len)?;
        // What used the memory before, and what makes it unreadable in tests, comes before the copy.
        self.executor.start_collected()?;
        let copied = self.executor.0.kind.copy_back(&self.host.memory, buffer.memory())?;
        Ok((buffer, copied))
    }

    fn follow(&mut self, copied: Transfer) -> Result<(), DeviceError> {
        self.executor.0.kind.follow(copied, &mut self.host.memory)
    }
}

impl Drop for Offloaded {
    fn drop(&mut self) {
        // An error here is an earlier launch's, which the next call reports.
        let _ = self.release();
        let host = mem::take(&mut self.host);
        self.executor.0.host_blocks.blocks().entry(self.capacity).or_default().push(host);
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn contents_go_and_come_back() {
        let executor = Executor::emulated(0);
        for _ in 0..3 {
            let buffer = executor.upload(&[1.0f32, 2.0, 3.0]).unwrap();
            let mut offloaded = buffer.offload().unwrap();
            drop(buffer);
            offloaded.release().unwrap();
            // Somebody else is given the memory.
            let mut other = executor.upload(&[7.0f32; 3]).unwrap();
            offloaded.fetch().unwrap();
            other.zero().unwrap();
            assert_eq!(offloaded.take().unwrap().read::<f32>().unwrap(), [1.0, 2.0, 3.0]);
        }
        assert_eq!(executor.pool_stats().blocks_allocated, 2);
        assert_eq!(executor.0.host_blocks.blocks().values().map(Vec::len).sum::<usize>(), 1);
    }

    #[test]
    fn page_locked_memory_is_counted_until_it_is_given_back() {
        let executor = Executor::emulated(0);
        let buffers = [100usize, 1000].map(|len| executor.upload(&vec![1u8; len]).unwrap());
        // What small copies go through.
        let before = executor.peak_page_locked_bytes();
        let offloaded = buffers.each_ref().map(|buffer| buffer.offload().unwrap());
        assert_eq!(executor.peak_page_locked_bytes(), before + 256 + 1024);
        drop(offloaded);
        executor.trim().unwrap();
        executor.reset_peaks();
        assert_eq!(executor.peak_page_locked_bytes(), before);
    }

    /// The emulator copies as late as it may: what nobody waited for is not there.
    #[test]
    fn whoever_does_not_wait_does_not_see_it() {
        let executor = Executor::emulated(0);
        let mut buffer = executor.upload(&[1.0f32]).unwrap();
        let mut offloaded = buffer.offload().unwrap();
        buffer.zero().unwrap();
        offloaded.release().unwrap();
        offloaded.fetch().unwrap();
        let Place::OnDevice(returning, _) = &offloaded.place else { panic!("it was fetched") };
        assert!(returning.read::<f32>().unwrap()[0].is_nan());
        // It was changed before it had left.
        assert_eq!(offloaded.take().unwrap().read::<f32>().unwrap(), [0.0]);
    }

    #[test]
    fn what_is_still_there_is_not_copied_back() {
        let executor = Executor::emulated(0);
        let buffer = executor.upload(&[4.0f32]).unwrap();
        let mut offloaded = buffer.offload().unwrap();
        offloaded.fetch().unwrap();
        assert_eq!(offloaded.take().unwrap().address(), buffer.address());
        drop(buffer.offload().unwrap());
        assert_eq!(buffer.read::<f32>().unwrap(), [4.0]);
    }

    #[test]
    fn launches_that_are_collected_make_what_leaves() {
        let executor = Executor::emulated(0);
        let from = executor.upload(&[5.0f32, 6.0]).unwrap();
        let back = executor.in_graphs(|| {
            let mut buffer = executor.allocate(8)?;
            buffer.copy_from(&from)?;
            let mut offloaded = buffer.offload()?;
            drop(buffer);
            offloaded.release()?;
            executor.allocate(8)?.zero()?;
            offloaded.take()
        });
        assert_eq!(back.unwrap().read::<f32>().unwrap(), [5.0, 6.0]);
    }
}
