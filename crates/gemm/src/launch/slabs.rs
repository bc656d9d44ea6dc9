//! Products of large depth and few tiles, whose depth is shared out.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{GEMM_SUM_BF16, GEMM_SUM_F32};
use super::matrix::MatrixMut;
use super::params::{GEMM_SLAB_UNIT, GEMM_SUM_ELEMENTS, GEMM_SUM_THREADS, GemmSumParams};
use crate::GemmError;
use crate::matrix::Stored;

/// Blocks that fill a GPU: two on each of the 108 multiprocessors of an A100.
const FULL: usize = 216;
/// Depth of a slab at least, so that adding up slabs costs little beside computing them.
const MIN_DEPTH: usize = 512;

/// How the depth of a product is cut, one block for each tile and slab. A function of the sizes only: so is the order of
/// every sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slabs {
    /// Parts.
    pub count: usize,
    /// Depth of each but the last.
    pub depth: usize,
}

impl Slabs {
    /// For a product of `tiles` tiles and depth `depth`.
    pub fn new(tiles: usize, depth: usize) -> Self {
        Self::filling(FULL, tiles, depth)
    }

    /// The same for a GPU that `blocks` blocks fill.
    pub(super) fn filling(blocks: usize, tiles: usize, depth: usize) -> Self {
        let wanted = (blocks / tiles.max(1)).clamp(1, (depth / MIN_DEPTH).max(1));
        let slab = depth.div_ceil(wanted).next_multiple_of(GEMM_SLAB_UNIT as usize).max(1);
        Self { count: Self::of_depth(depth, slab), depth: slab }
    }

    /// How many slabs of depth `slab` there are in `depth`: one at least, which sums nothing if there is nothing.
    pub fn of_depth(depth: usize, slab: usize) -> usize {
        depth.div_ceil(slab).max(1)
    }
}

/// `C = alpha` times the sum of `slabs` partial products `[m, n]` in f32, in order, or that added to what `C` holds.
///
/// # Errors
/// [`GemmError::Length`] and [`GemmError::RowStride`] if a buffer does not hold its matrices, [`GemmError::KernelDType`] for
/// f16, [`GemmError::Device`] for buffers of different devices and what a launch refuses.
pub fn sum_slabs(
    alpha: f32,
    partials: &DeviceBuffer,
    slabs: usize,
    add: bool,
    c: &mut MatrixMut<'_>,
) -> Result<(), GemmError> {
    let Stored { rows: m, cols: n, row_stride } = c.stored;
    let elements = partials.len_bytes() / size_of::<f32>();
    Stored::dense(m.saturating_mul(slabs), n).check("A", elements)?;
    c.check()?;
    let kernel = match c.dtype {
        DType::F32 => &GEMM_SUM_F32,
        DType::BF16 => &GEMM_SUM_BF16,
        DType::F16 => return Err(GemmError::KernelDType { a: DType::F32, b: DType::F32, c: c.dtype }),
    };
    let executor = Executor::of(partials, [&*c.buffer])?;
    let params = GemmSumParams {
        partials: partials.address(),
        c: c.buffer.address(),
        bias: 0,
        scale: 0,
        unscaled: 0,
        c_stride: row_stride as u64,
        m: m as u64,
        n: n as u64,
        slabs: slabs as u64,
        alpha,
        c_wide: u32::from(c.dtype == DType::F32),
        add: u64::from(add),
    };
    let grid = sum_grid(m, n).doing(Work::over([partials, &*c.buffer]));
    // SAFETY: both buffers were checked to be of this executor and to hold their matrices; `c` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}

/// Memory for the products `[m, n]` of `slabs` slabs.
pub(super) fn allocate_partials(
    executor: &Executor,
    [m, n]: [usize; 2],
    slabs: usize,
) -> Result<DeviceBuffer, GemmError> {
    let elements = m.saturating_mul(n).saturating_mul(slabs);
    Ok(executor.allocate(elements.saturating_mul(size_of::<f32>()))?)
}

/// Blocks that add up `[m, n]`.
pub(super) fn sum_grid(m: usize, n: usize) -> Grid {
    Grid::covering(m.saturating_mul(n.next_multiple_of(4)), GEMM_SUM_ELEMENTS, GEMM_SUM_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_fill_a_gpu_and_cover_the_depth() {
        assert_eq!(Slabs::new(64 * 32, 4096).count, 1);
        // 13 slabs would fill it, 8 are deep enough.
        assert_eq!(Slabs::new(16, 4096), Slabs { count: 8, depth: 512 });
        for (tiles, depth) in [(64, 8192), (1, 100_000), (4, 5000), (2, 0), (1, 7)] {
            let slabs = Slabs::new(tiles, depth);
            assert!(slabs.count * slabs.depth >= depth && (slabs.count - 1) * slabs.depth <= depth, "{slabs:?}");
        }
    }
}
