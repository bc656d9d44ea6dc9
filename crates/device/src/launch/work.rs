//! What a launch has to do at least.

use std::iter::Sum;
use std::ops::Add;

use super::{DeviceBuffer, Grid};

/// Operations and bytes of a launch, by the sizes of its operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes of device memory if every operand is read once and every result written once.
    pub bytes: u64,
}

impl Work {
    /// Reading and writing `bytes`, with nothing to compute that takes longer.
    pub const fn bytes(bytes: usize) -> Self {
        Self { flops: 0, bytes: bytes as u64 }
    }

    /// Reading or writing all of `buffers` once.
    pub fn over<'a>(buffers: impl IntoIterator<Item = &'a DeviceBuffer>) -> Self {
        buffers.into_iter().map(|buffer| Self::bytes(buffer.len_bytes())).sum()
    }

    /// The product of `[m, k]` and `[k, n]`.
    pub const fn product([m, n, k]: [usize; 3]) -> Self {
        Self { flops: (m as u64).saturating_mul(n as u64).saturating_mul(k as u64).saturating_mul(2), bytes: 0 }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flops: self.flops.saturating_add(other.flops), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), Add::add)
    }
}

impl Grid {
    /// The same, to do `work`: what a [dry](crate::Device::Dry) device notes of it.
    pub const fn doing(self, work: Work) -> Self {
        Self { work, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_adds_up() {
        let work = Work::product([2, 3, 5]) + Work::bytes(8);
        assert_eq!(work, Work { flops: 60, bytes: 8 });
        assert_eq!([work, work].into_iter().sum::<Work>(), Work { flops: 120, bytes: 16 });
        assert_eq!(Work::product([usize::MAX; 3]).flops, u64::MAX);
    }
}
