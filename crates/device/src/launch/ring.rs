//! Page-locked memory that copies to a device take turns in.
//!
//! A GPU reads page-locked memory alone. Bytes from elsewhere are written into one half until it is full, while the copies out
//! of the other half are on their way; a half is written again once what was copied out of it has arrived.

use rayon::prelude::*;

use super::Executor;
use super::buffer::Memory;
use super::kind::{Kind, Point};
use super::page_locked::PageLocked;
use crate::DeviceError;

/// What one task copies: enough to be worth it, little enough that all cores have some.
const TASK_BYTES: usize = 1 << 20;
/// Where pieces begin in a half.
const ALIGNMENT: usize = 64;

#[derive(Debug)]
pub(super) struct Ring {
    halves: [Half; 2],
    half_bytes: usize,
    /// The one that is being filled, and how far it is.
    current: usize,
    used: usize,
}

#[derive(Debug)]
struct Half {
    host: PageLocked,
    /// After the last copy out of it.
    copied: Option<Point>,
}

impl Ring {
    /// Halves of `half_bytes`, at least one.
    pub(super) fn new(executor: &Executor, half_bytes: usize) -> Result<Self, DeviceError> {
        let half_bytes = half_bytes.max(1);
        let half = || Ok::<_, DeviceError>(Half { host: executor.page_lock(half_bytes)?, copied: None });
        Ok(Self { halves: [half()?, half()?], half_bytes, current: 0, used: 0 })
    }

    /// Copies `bytes` to a buffer of `kind` that is as long. When it returns they have been read, but not all have arrived.
    pub(super) fn copy(&mut self, kind: &Kind, bytes: &[u8], to: Memory) -> Result<(), DeviceError> {
        for (number, piece) in bytes.chunks(self.half_bytes).enumerate() {
            let address = to.address + (number * self.half_bytes) as u64;
            self.copy_piece(kind, piece, Memory { address, len: piece.len() })?;
        }
        Ok(())
    }

    fn copy_piece(&mut self, kind: &Kind, piece: &[u8], to: Memory) -> Result<(), DeviceError> {
        if self.used + piece.len() > self.half_bytes {
            self.halves[self.current].copied = Some(kind.event()?);
            (self.current, self.used) = (1 - self.current, 0);
            self.halves[self.current].copied.take().map_or(Ok(()), |copied| kind.wait(&copied))?;
        }
        let (start, half) = (self.used, &mut self.halves[self.current]);
        let memory = &mut half.host.memory.bytes_mut()[start..start + piece.len()];
        if piece.len() <= TASK_BYTES {
            memory.copy_from_slice(piece);
        } else {
            let tasks = memory.par_chunks_mut(TASK_BYTES).zip(piece.par_chunks(TASK_BYTES));
            tasks.for_each(|(to, from)| to.copy_from_slice(from));
        }
        kind.write_from(&half.host.memory, start, to)?;
        self.used = (start + piece.len()).next_multiple_of(ALIGNMENT).min(self.half_bytes);
        Ok(())
    }
}
