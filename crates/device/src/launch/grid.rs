//! How many threads a launch has.

use super::{Architecture, Work};
use crate::DeviceError;

/// Blocks, threads and shared memory of one launch. Blocks are one-dimensional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block, whole warps.
    pub threads: u32,
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// What they have to do, as far as it is known.
    pub work: Work,
}

impl Grid {
    /// Threads of a warp.
    pub const WARP: u32 = 32;
    /// Threads that a block can have.
    pub const MAX_THREADS: u32 = 1024;
    /// Blocks along x; along y and z there can be 65535.
    pub const MAX_BLOCKS: [u32; 3] = [i32::MAX as u32, 65535, 65535];

    /// `blocks` blocks in a row, without shared memory.
    pub const fn linear(blocks: u32, threads: u32) -> Self {
        Self { blocks: [blocks, 1, 1], threads, shared_bytes: 0, work: Work { flops: 0, bytes: 0 } }
    }

    /// Blocks in a row that together cover `elements`, each with `per_block` of them. More blocks than a GPU takes are
    /// refused by the launch.
    ///
    /// # Panics
    /// If `per_block` is 0.
    pub fn covering(elements: usize, per_block: u32, threads: u32) -> Self {
        Self::linear(u32::try_from(elements.div_ceil(per_block as usize)).unwrap_or(u32::MAX), threads)
    }

    /// The same with `shared_bytes` for each block.
    pub const fn with_shared(self, shared_bytes: u32) -> Self {
        Self { shared_bytes, ..self }
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.blocks.contains(&0)
    }

    /// Refuses what a GPU refuses, on every executor.
    pub(super) fn check(&self, kernel: &'static str, architecture: Architecture) -> Result<(), DeviceError> {
        let blocks = self.blocks.iter().zip(Self::MAX_BLOCKS).all(|(&blocks, max)| blocks <= max);
        let threads = self.threads.is_multiple_of(Self::WARP) && (1..=Self::MAX_THREADS).contains(&self.threads);
        if blocks && threads && self.shared_bytes <= architecture.max_shared_bytes() {
            Ok(())
        } else {
            Err(DeviceError::Launch { kernel, grid: *self })
        }
    }
}

impl std::fmt::Display for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [x, y, z] = self.blocks;
        write!(
            f,
            "{x} x {y} x {z} blocks of {} threads with {} bytes of shared memory",
            self.threads, self.shared_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_elements() {
        assert!(Grid::covering(0, 4, 32).is_empty());
        assert_eq!(Grid::covering(1, 4, 32).blocks, [1, 1, 1]);
        assert_eq!(Grid::covering(9, 4, 32).blocks, [3, 1, 1]);
    }

    #[test]
    fn what_no_gpu_takes_is_refused() {
        let fits = Grid::linear(1, 256);
        assert!(fits.check("k", Architecture::Ampere).is_ok());
        for grid in [
            Grid { threads: 0, ..fits },
            Grid { threads: 48, ..fits },
            Grid { threads: 1056, ..fits },
            Grid { blocks: [1, 65536, 1], ..fits },
            fits.with_shared(200 << 10),
            Grid::covering(usize::MAX, 4, 256),
        ] {
            assert!(
                matches!(grid.check("k", Architecture::Ampere), Err(DeviceError::Launch { kernel: "k", .. })),
                "{grid}"
            );
        }
        assert!(fits.with_shared(200 << 10).check("k", Architecture::Hopper).is_ok());
    }
}
