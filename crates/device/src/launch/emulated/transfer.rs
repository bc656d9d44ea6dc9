//! Copies between the device and the host beside the kernels, which land as late as they may: when they are waited for.

use super::Emulated;
use crate::launch::POISON;
use crate::launch::buffer::Memory;

/// One copy under way.
#[derive(Debug)]
pub(in crate::launch) struct Transfer {
    memory: Memory,
    is_out: bool,
}

impl Transfer {
    /// From `memory` to `host`, whose bytes are gone from now on.
    pub(in crate::launch) fn out(memory: Memory, host: &mut [u8]) -> Self {
        host.fill(POISON);
        Self { memory, is_out: true }
    }

    /// To `memory`.
    pub(in crate::launch) fn back(memory: Memory) -> Self {
        Self { memory, is_out: false }
    }

    /// Copies from or to `host` what is there now.
    pub(in crate::launch) fn land(self, device: &Emulated, host: &mut [u8]) {
        let Self { memory, is_out } = self;
        let host = &mut host[..memory.len];
        if is_out { device.read(memory, host) } else { device.write(memory, host) }
    }
}
