//! Reused memory of an executor.
//!
//! Launches and copies happen in the order of the calls, so memory can be taken again as soon as its last owner is gone:
//! whatever still reads it was started before. The buffers of a training step are asked for in the same order step after
//! step; from the second step on every one of them is a block of the step before. Sizes are those of [`crate::pool`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Free blocks by capacity, and counts.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<State>);

/// Addresses of blocks by capacity.
type Blocks = BTreeMap<usize, Vec<u64>>;

#[derive(Debug, Default)]
struct State {
    free: Blocks,
    /// Those given back while a graph is recorded, which are its own: a replay writes them.
    recorded: Option<Blocks>,
    stats: PoolStats,
}

/// What an executor's pool holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Blocks ever asked of the device. Constant from the second training step on.
    pub blocks_allocated: u64,
    /// Bytes in use.
    pub live_bytes: usize,
    /// Bytes kept for reuse.
    pub free_bytes: usize,
    /// Highest value of `live_bytes + free_bytes` so far.
    pub peak_bytes: usize,
    /// Highest value of `live_bytes` so far: what is kept for reuse besides goes back to the device where it has no more.
    pub peak_live_bytes: usize,
}

impl PoolStats {
    fn take(&mut self, capacity: usize) {
        self.live_bytes += capacity;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        // Consistent between any two operations, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> PoolStats {
        self.state().stats
    }

    /// A free block of `capacity` bytes or little more, with what it has.
    pub(super) fn take(&self, capacity: usize) -> Option<(u64, usize)> {
        let mut state = self.state();
        if let Some(block) = state.recorded.as_mut().and_then(|recorded| pop(recorded, capacity)) {
            return Some(block);
        }
        let (address, capacity) = pop(&mut state.free, capacity)?;
        state.stats.free_bytes -= capacity;
        state.stats.take(capacity);
        Some((address, capacity))
    }

    /// Counts a block that the device has just given.
    pub(super) fn count(&self, capacity: usize) {
        let stats = &mut self.state().stats;
        stats.blocks_allocated += 1;
        stats.take(capacity);
        stats.peak_bytes = stats.peak_bytes.max(stats.live_bytes + stats.free_bytes);
    }

    /// From now on, peaks are those of what follows.
    pub(super) fn reset_peaks(&self) {
        let stats = &mut self.state().stats;
        (stats.peak_bytes, stats.peak_live_bytes) = (stats.live_bytes + stats.free_bytes, stats.live_bytes);
    }

    /// Keeps a block for the next taker.
    pub(super) fn give(&self, address: u64, capacity: usize) {
        let mut state = self.state();
        if let Some(recorded) = &mut state.recorded {
            recorded.entry(capacity).or_default().push(address);
            return;
        }
        state.stats.live_bytes -= capacity;
        state.stats.free_bytes += capacity;
        state.free.entry(capacity).or_default().push(address);
    }

    /// From now on, blocks that are given back stay those of a graph.
    pub(super) fn begin_recording(&self) {
        self.state().recorded = Some(Blocks::new());
    }

    /// The graph's blocks, which count as in use until they are given back.
    pub(super) fn end_recording(&self) -> Vec<(u64, usize)> {
        let recorded = self.state().recorded.take().unwrap_or_default();
        recorded.into_iter().flat_map(|(has, blocks)| blocks.into_iter().map(move |address| (address, has))).collect()
    }

    /// All free blocks, which the device is to have back.
    pub(super) fn drain(&self) -> Vec<u64> {
        let mut state = self.state();
        state.stats.free_bytes = 0;
        std::mem::take(&mut state.free).into_values().flatten().collect()
    }
}

/// A block of `capacity` bytes or little more, with what it has.
fn pop(blocks: &mut Blocks, capacity: usize) -> Option<(u64, usize)> {
    let mut found = blocks.range_mut(capacity..=capacity.saturating_add(capacity / 8));
    found.find_map(|(&has, blocks)| Some((blocks.pop()?, has)))
}
