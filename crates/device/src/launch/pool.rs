//! Reused memory of an executor.
//!
//! Launches and copies happen in the order of the calls, so memory can be taken again as soon as its last owner is gone:
//! whatever still reads it was started before. The buffers of a training step are asked for in the same order step after
//! step; from the second step on every one of them is a block of the step before. Sizes are those of [`crate::pool`].
//!
//! While launches are [collected](super::graphs), a block that is given back may still be read by one that was not started. It
//! is for later launches then, and not for a copy from the host, which overtakes what was collected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Free blocks by capacity, and counts.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<State>);

/// Addresses of blocks by capacity.
type Blocks = BTreeMap<usize, Vec<u64>>;

#[derive(Debug, Default)]
struct State {
    free: Blocks,
    /// Those given back since launches were last started, while they are collected.
    unsettled: Option<Blocks>,
    /// Free blocks for copies from the host while launches are collected. They are blocks of their own, so that what a step
    /// computes lies where it lay in the step before even if its inputs do not.
    for_copies: Blocks,
    /// Addresses of all of those, free or not.
    of_copies: BTreeSet<u64>,
    /// Of those, what was given back since launches were last started, with its capacity.
    unsettled_copies: Vec<(usize, u64)>,
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
    fn reuse(&mut self, capacity: usize) {
        self.free_bytes -= capacity;
        self.take(capacity);
    }

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
        let state = &mut *self.state();
        let unsettled = state.unsettled.as_mut().and_then(|unsettled| pop(unsettled, capacity));
        let (address, capacity) = unsettled.or_else(|| pop(&mut state.free, capacity))?;
        state.stats.reuse(capacity);
        Some((address, capacity))
    }

    /// As [`Pool::take`], a block that nothing reads which was not started.
    pub(super) fn take_for_copy(&self, capacity: usize) -> Option<(u64, usize)> {
        let state = &mut *self.state();
        let blocks = if state.unsettled.is_some() { &mut state.for_copies } else { &mut state.free };
        let (address, capacity) = pop(blocks, capacity)?;
        state.stats.reuse(capacity);
        Some((address, capacity))
    }

    /// Counts a block that the device has just given, maybe for a copy from the host.
    pub(super) fn count(&self, address: u64, capacity: usize, is_for_copy: bool) {
        let state = &mut *self.state();
        if is_for_copy && state.unsettled.is_some() {
            state.of_copies.insert(address);
        }
        let stats = &mut state.stats;
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
        let state = &mut *self.state();
        state.stats.live_bytes -= capacity;
        state.stats.free_bytes += capacity;
        match &mut state.unsettled {
            Some(_) if state.of_copies.contains(&address) => state.unsettled_copies.push((capacity, address)),
            Some(unsettled) => unsettled.entry(capacity).or_default().push(address),
            None => state.keep(address, capacity),
        }
    }

    /// From now on, launches are collected.
    pub(super) fn begin_collecting(&self) {
        let state = &mut *self.state();
        state.unsettled = Some(Blocks::new());
        state.sort();
    }

    /// Everything that was collected has been started.
    pub(super) fn settle(&self) {
        let state = &mut *self.state();
        let settled = state.unsettled.as_mut().map(std::mem::take).unwrap_or_default();
        let settled =
            settled.into_iter().flat_map(|(capacity, all)| all.into_iter().map(move |address| (capacity, address)));
        let copies = std::mem::take(&mut state.unsettled_copies);
        settled.chain(copies).for_each(|(capacity, address)| state.keep(address, capacity));
        state.sort();
    }

    /// Launches are no longer collected, and all have been started.
    pub(super) fn end_collecting(&self) {
        self.settle();
        self.state().unsettled = None;
    }

    /// All free blocks, which the device is to have back.
    pub(super) fn drain(&self) -> Vec<u64> {
        let state = &mut *self.state();
        let [free, for_copies] = [&mut state.free, &mut state.for_copies].map(std::mem::take);
        for (capacity, addresses) in free.iter().chain(&for_copies) {
            state.stats.free_bytes -= capacity * addresses.len();
        }
        let for_copies: Vec<u64> = for_copies.into_values().flatten().collect();
        state.of_copies.retain(|address| !for_copies.contains(address));
        free.into_values().flatten().chain(for_copies).collect()
    }
}

impl State {
    fn keep(&mut self, address: u64, capacity: usize) {
        let blocks = if self.of_copies.contains(&address) { &mut self.for_copies } else { &mut self.free };
        blocks.entry(capacity).or_default().push(address);
    }

    /// Brings blocks into an order that depends on nothing but which are free, so that the same requests get the same ones.
    fn sort(&mut self) {
        self.free.values_mut().chain(self.for_copies.values_mut()).for_each(|addresses| addresses.sort_unstable());
    }
}

/// A block of `capacity` bytes or little more, with what it has.
fn pop(blocks: &mut Blocks, capacity: usize) -> Option<(u64, usize)> {
    let mut found = blocks.range_mut(capacity..=capacity.saturating_add(capacity / 8));
    found.find_map(|(&has, blocks)| Some((blocks.pop()?, has)))
}
