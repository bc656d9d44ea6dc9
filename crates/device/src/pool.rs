//! Reused host memory.
//!
//! Buffers of a training step are asked for and given back in the same order step after step, so from the second step on
//! every request is met by a block of the step before. Blocks come in size classes (eight to a power of two, so at most
//! an eighth is wasted) and large ones are mapped on huge pages: the first touch of a 4 KiB page costs a fault.
//! Blocks that no step has used for a while go back to the system when [`advance`] is called, once a step.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::DeviceError;
use crate::block::Block;

/// A block that was idle for this many steps is returned to the system.
const IDLE_STEPS: u64 = 16;
const SMALLEST_CLASS: usize = 256;

static FREE: Mutex<BTreeMap<usize, Vec<(u64, Block)>>> = Mutex::new(BTreeMap::new());
static STEP: AtomicU64 = AtomicU64::new(0);
static BLOCKS_ALLOCATED: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static FREE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What the pool holds and has done since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Blocks ever asked of the system. Constant from the second training step on.
    pub blocks_allocated: u64,
    /// Bytes in use.
    pub live_bytes: usize,
    /// Bytes kept for reuse.
    pub free_bytes: usize,
    /// Highest value of `live_bytes + free_bytes` so far.
    pub peak_bytes: usize,
}

/// Reads the counters.
pub fn stats() -> Stats {
    Stats {
        blocks_allocated: BLOCKS_ALLOCATED.load(Ordering::Relaxed),
        live_bytes: LIVE_BYTES.load(Ordering::Relaxed),
        free_bytes: FREE_BYTES.load(Ordering::Relaxed),
        peak_bytes: PEAK_BYTES.load(Ordering::Relaxed),
    }
}

/// Marks the end of a step and returns long-idle blocks to the system.
pub fn advance() {
    let step = STEP.fetch_add(1, Ordering::Relaxed) + 1;
    release(|idle_since| idle_since + IDLE_STEPS < step);
}

/// Returns every free block to the system: between phases with different needs, such as training and generation.
pub fn trim() {
    release(|_| true);
}

fn release(stale: impl Fn(u64) -> bool) {
    let mut free = lock();
    for blocks in free.values_mut() {
        blocks.retain(|(idle_since, block)| {
            let drop = stale(*idle_since);
            if drop {
                FREE_BYTES.fetch_sub(block.capacity(), Ordering::Relaxed);
            }
            !drop
        });
    }
    free.retain(|_, blocks| !blocks.is_empty());
}

/// A block of at least `bytes`, initialised: fresh blocks are zero, reused ones hold what they held.
pub(crate) fn take(bytes: usize) -> Result<Block, DeviceError> {
    let class = size_class(bytes).ok_or_else(|| out_of_memory(bytes))?;
    let reused = {
        let mut free = lock();
        // The next larger class serves too; anything larger would be wasteful.
        free.range_mut(class..=class + class / 8).find_map(|(_, blocks)| blocks.pop())
    };
    if let Some((_, block)) = reused {
        FREE_BYTES.fetch_sub(block.capacity(), Ordering::Relaxed);
        LIVE_BYTES.fetch_add(block.capacity(), Ordering::Relaxed);
        return Ok(block);
    }
    let block = Block::allocate(class).ok_or_else(|| out_of_memory(bytes))?;
    BLOCKS_ALLOCATED.fetch_add(1, Ordering::Relaxed);
    let live = LIVE_BYTES.fetch_add(class, Ordering::Relaxed) + class;
    PEAK_BYTES.fetch_max(live + FREE_BYTES.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok(block)
}

/// Keeps `block` for the next taker.
pub(crate) fn give(block: Block) {
    LIVE_BYTES.fetch_sub(block.capacity(), Ordering::Relaxed);
    FREE_BYTES.fetch_add(block.capacity(), Ordering::Relaxed);
    lock().entry(block.capacity()).or_default().push((STEP.load(Ordering::Relaxed), block));
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<usize, Vec<(u64, Block)>>> {
    // The map is consistent between any two operations, so a panic elsewhere does not spoil it.
    FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn out_of_memory(bytes: usize) -> DeviceError {
    DeviceError::OutOfMemory { device: "cpu".to_owned(), bytes }
}

/// `bytes` rounded up to a multiple of an eighth of the power of two below it.
pub(crate) fn size_class(bytes: usize) -> Option<usize> {
    if bytes <= SMALLEST_CLASS {
        return Some(SMALLEST_CLASS);
    }
    let step = (1usize << bytes.ilog2()) / 8;
    bytes.checked_next_multiple_of(step).filter(|&class| class <= isize::MAX as usize / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for bytes in (1..100_000).chain([1 << 30, (1 << 30) + 1]) {
            let class = size_class(bytes).unwrap();
            assert!(class >= bytes && (bytes <= SMALLEST_CLASS || class - bytes <= bytes / 8), "{bytes} -> {class}");
        }
        assert_eq!(size_class(usize::MAX), None);
    }
}
