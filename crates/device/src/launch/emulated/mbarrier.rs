//! Barriers in shared memory that threads and bulk copies arrive at.

use crate::launch::POISON;

/// One `mbarrier`, in its eight bytes of shared memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Mbarrier {
    expected: u16,
    pending: u16,
    /// Bytes that are still to land, and in the lowest bit the parity of the phase.
    bytes_and_parity: u32,
}

impl Mbarrier {
    pub(super) fn new(expected: u16) -> Self {
        Self { expected, pending: expected, bytes_and_parity: 0 }
    }

    fn check(&self) -> Result<(), &'static str> {
        let unwritten = u16::from_ne_bytes([POISON; 2]);
        if self.expected == unwritten { Err("an mbarrier is used that was never initialised") } else { Ok(()) }
    }

    /// One thread arrives and says that `bytes` are to land in this phase.
    pub(super) fn arrive(&mut self, bytes: u32) -> Result<(), &'static str> {
        self.check()?;
        self.pending = self.pending.checked_sub(1).ok_or("more threads arrive at an mbarrier than it counts")?;
        self.bytes_and_parity += 2 * bytes;
        self.advance();
        Ok(())
    }

    /// `bytes` have landed.
    pub(super) fn land(&mut self, bytes: u32) -> Result<(), &'static str> {
        self.check()?;
        let left = self.bytes_and_parity.checked_sub(2 * bytes);
        self.bytes_and_parity = left.ok_or("more bytes land at an mbarrier than were announced")?;
        self.advance();
        Ok(())
    }

    /// Whether the phase of this parity is over.
    pub(super) fn is_over(&self, parity: u32) -> Result<bool, &'static str> {
        self.check()?;
        Ok(self.bytes_and_parity & 1 != parity & 1)
    }

    fn advance(&mut self) {
        if self.pending == 0 && self.bytes_and_parity <= 1 {
            self.pending = self.expected;
            self.bytes_and_parity ^= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_when_all_have_arrived_and_all_has_landed() {
        let mut barrier = Mbarrier::new(2);
        assert_eq!((barrier.is_over(1), barrier.is_over(0)), (Ok(true), Ok(false)));
        barrier.arrive(16).unwrap();
        barrier.land(16).unwrap();
        assert_eq!(barrier.is_over(0), Ok(false));
        barrier.arrive(32).unwrap();
        assert_eq!(barrier.is_over(0), Ok(false));
        barrier.land(32).unwrap();
        assert_eq!((barrier.is_over(0), barrier.is_over(1)), (Ok(true), Ok(false)));
        assert!(barrier.land(16).unwrap_err().contains("more bytes"));
    }
}
