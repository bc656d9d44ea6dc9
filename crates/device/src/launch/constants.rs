//! What the host knows and kernels read again and again: positions, tiles, starts, a row of ones.
//!
//! Every layer of a model asks for the same positions, and a step for those of the step before. So memory is kept by what it
//! holds: the first who asks for it copies it, and it goes back to the pool when two steps have passed without anyone asking.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytemuck::Pod;

use super::buffer::{Block, DeviceBuffer};
use super::pool::Pool;
use super::{Executor, Inner};
use crate::DeviceError;

/// Steps that memory is kept for after the last one that asked for it: the one that is being taken, and the one before.
const KEPT_STEPS: u64 = 2;
/// Bytes that are kept where nothing [ends a step](Executor::advance), as in evaluation and generation.
const KEPT_BYTES: usize = 64 << 20;

/// Blocks by what they hold.
#[derive(Debug, Default)]
pub(super) struct Constants(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    step: u64,
    /// Of all blocks.
    bytes: usize,
    entries: BTreeMap<Box<[u8]>, Entry>,
}

/// A block of the pool. Buffers share it without owning it: the executor lives as long as they do, and so does this.
#[derive(Debug)]
struct Entry {
    address: u64,
    capacity: usize,
    shared: Weak<Block>,
    /// The step that last asked for it.
    used: u64,
}

impl Entry {
    fn buffer(&mut self, executor: &Executor, len: usize) -> DeviceBuffer {
        let block = self.shared.upgrade().unwrap_or_else(|| {
            let block = Arc::new(Block::kept(executor.clone(), self.address, self.capacity));
            self.shared = Arc::downgrade(&block);
            block
        });
        DeviceBuffer::over(block, len)
    }
}

impl State {
    /// Gives back what nobody shares and `is_due`.
    fn give_back(&mut self, pool: &Pool, is_due: impl Fn(&Entry) -> bool) {
        let Self { bytes, entries, .. } = self;
        entries.retain(|_, entry| {
            let is_kept = entry.shared.strong_count() > 0 || !is_due(entry);
            if !is_kept {
                *bytes -= entry.capacity;
                pool.give(entry.address, entry.capacity);
            }
            is_kept
        });
    }
}

impl Constants {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two operations, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All blocks, which nobody shares any more.
    pub(super) fn drain(&self) -> Vec<u64> {
        mem::take(&mut *self.state()).entries.into_values().map(|entry| entry.address).collect()
    }
}

impl Executor {
    /// Memory that holds `values`, shared with all who ask for the same bytes. It is never to be written.
    ///
    /// # Errors
    /// As [`Executor::upload`], for what nobody has asked for before.
    pub fn constant<T: Pod>(&self, values: &[T]) -> Result<DeviceBuffer, DeviceError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let mut state = self.0.constants.state();
        let step = state.step;
        if let Some(entry) = state.entries.get_mut(bytes) {
            entry.used = step;
            return Ok(entry.buffer(self, bytes.len()));
        }
        let (address, capacity) = self.upload(values)?.into_kept();
        if state.bytes > KEPT_BYTES {
            state.give_back(&self.0.pool, |_| true);
        }
        let mut entry = Entry { address, capacity, shared: Weak::new(), used: step };
        let shared = entry.buffer(self, bytes.len());
        state.bytes += capacity;
        state.entries.insert(bytes.into(), entry);
        Ok(shared)
    }

    /// Ends a step: memory that two steps have not [asked for](Executor::constant) goes back to the pool.
    pub fn advance(&self) {
        let Inner { constants, pool, .. } = &*self.0;
        let mut state = constants.state();
        state.step += 1;
        let step = state.step;
        state.give_back(pool, |entry| entry.used + KEPT_STEPS <= step);
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn the_same_values_are_copied_once() {
        let executor = Executor::emulated(0);
        let [one, two] = [(); 2].map(|()| executor.constant(&[1.0f32, 2.0]).unwrap());
        let other = executor.constant(&[1.0f32, 3.0]).unwrap();
        assert!(one.address() == two.address() && one.address() != other.address());
        assert_eq!(one.read::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(other.read::<f32>().unwrap(), [1.0, 3.0]);
        assert_eq!(executor.exchanges().uploads, 2);
        let address = one.address();
        drop((one, two));
        assert_eq!(executor.constant(&[1.0f32, 2.0]).unwrap().address(), address);
        assert_eq!(executor.exchanges().uploads, 2);
        assert!(executor.constant::<u32>(&[]).unwrap().read::<u32>().unwrap().is_empty());
    }

    #[test]
    fn where_no_step_ends_no_more_than_some_is_kept() {
        let executor = Executor::dry(crate::launch::Architecture::Ampere);
        let held = executor.constant(&[7u32]).unwrap();
        let mut values = vec![0u32; 1 << 20];
        for index in 0..40 {
            values[0] = index;
            executor.constant(&values).unwrap();
            assert!(executor.pool_stats().live_bytes <= KEPT_BYTES + (8 << 20));
        }
        assert_eq!(executor.constant(&[7u32]).unwrap().address(), held.address());
    }

    #[test]
    fn what_steps_do_not_ask_for_goes_back() {
        let executor = Executor::emulated(0);
        let held = executor.constant(&[1u64]).unwrap();
        executor.constant(&[2u64]).unwrap();
        for step in 0..4 {
            executor.constant(&[3u64]).unwrap();
            executor.advance();
            let kept = executor.pool_stats().live_bytes / 256;
            assert_eq!(kept, if step == 0 { 3 } else { 2 }, "after step {step}");
        }
        // Whoever still holds memory keeps it.
        assert_eq!(held.read::<u64>().unwrap(), [1]);
        drop(held);
        executor.constant(&[3u64]).unwrap();
        executor.advance();
        assert_eq!(executor.pool_stats().live_bytes, 256);
        executor.constant(&[1u64]).unwrap();
        assert_eq!(executor.exchanges().uploads, 4);
    }
}
