//! A block's dynamic shared memory.

use crate::launch::POISON;

/// Bytes before and behind, whose change is a fault.
const GUARD: usize = 1 << 10;
const LINE: usize = 1 << 10;

/// Memory for one block at a time, poisoned for each.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Aligned as swizzled tiles need it.
    words: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(1024))]
struct Line([u8; LINE]);

impl Shared {
    /// Poisons `len` bytes for the next block.
    pub(super) fn reset(&mut self, len: usize) {
        self.len = len;
        self.words.clear();
        self.words.resize((len + 2 * GUARD).div_ceil(LINE), Line([POISON; LINE]));
    }

    /// Its start.
    pub(super) fn start(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast::<u8>().wrapping_add(GUARD)
    }

    /// Whether the bytes around it were written.
    pub(super) fn damage(&self) -> Option<String> {
        let byte = |i: usize| self.words[i / LINE].0[i % LINE];
        let end = GUARD + self.len;
        if (0..GUARD).any(|i| byte(i) != POISON) {
            return Some(format!("it wrote before the start of its {} bytes of shared memory", self.len));
        }
        let behind = (end..LINE * self.words.len()).find(|&i| byte(i) != POISON)?;
        Some(format!("it wrote {} bytes behind the end of its {} bytes of shared memory", behind - end, self.len))
    }
}
