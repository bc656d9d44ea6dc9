//! Sums of products on Hopper.

use bytemuck::Zeroable;
use device::DType;
use device::launch::{Architecture, DeviceBuffer, Executor, Grid, Kernel, TiledMatrix, Work};

use super::kernels::{GEMM_SUM_BF16, GEMM_WGMMA_NN_BF16, GEMM_WGMMA_NT_BF16, GEMM_WGMMA_TN_BF16};
use super::matrix::{Matrix, MatrixMut, elements};
use super::params::{
    GEMM_WGMMA_MAX_SUMS, GEMM_WGMMA_MAX_TERMS, GEMM_WGMMA_SHARED_BYTES, GEMM_WGMMA_THREADS, GEMM_WGMMA_TILE_K,
    GEMM_WGMMA_TILE_M, GEMM_WGMMA_TILE_N, GemmSumParams, GemmTensorMap, GemmWgmmaParams, GemmWgmmaSum,
};
use super::slabs::{allocate_partials, sum_grid};
use super::{ColumnScale, Slabs, scale};
use crate::GemmError;
use crate::matrix::Stored;

/// Blocks that fill a GPU: one on each of the 132 multiprocessors of an H100.
const FULL: usize = 132;

/// One result, `C = alpha sum_t A_t B_t`, plus a bias or what `C` holds, times the factors of its columns.
#[derive(Debug)]
pub struct Sum<'a> {
    /// `[m, k_t]` and `[k_t, n]`, the depths of its own.
    pub terms: Vec<(Matrix<'a>, Matrix<'a>)>,
    /// `[n]` of the type of `A`.
    pub bias: Option<&'a DeviceBuffer>,
    /// Of the columns.
    pub scale: Option<ColumnScale<'a>>,
    /// `[m, n]`, written.
    pub c: MatrixMut<'a>,
}

impl Sum<'_> {
    /// Of the products; what is done with their sum is [`Sum::finish_work`].
    fn work(&self) -> Work {
        let terms = self.terms.iter().map(|(a, b)| {
            let ([m, k], [_, n]) = (a.shape(), b.shape());
            Work::product([m, n, k]) + Work::over([a.buffer, b.buffer])
        });
        terms.sum()
    }

    fn finish_work(&self) -> Work {
        let scaling = self.scale.iter().flat_map(ColumnScale::buffers);
        Work::over(self.bias.into_iter().chain(scaling).chain([&*self.c.buffer]))
    }

    /// How the stages of all terms are shared out, if this is the only result of a launch.
    fn slabs(&self) -> Slabs {
        let Stored { rows, cols, .. } = self.c.stored;
        let unit = GEMM_WGMMA_TILE_K as usize;
        let depth = self.terms.iter().map(|(a, _)| a.shape()[1].next_multiple_of(unit)).sum();
        Slabs::filling(FULL, tiles(rows, cols), depth)
    }
}

/// Computes up to three results with as many rows and terms in one launch, if the device and the operands allow it: on
/// [`Architecture::Hopper`], all in bf16 (a single `C` may be f32), all terms stored alike but not `A` and `B` both transposed,
/// and every row of `A` and `B` beginning at a multiple of 16 bytes. Otherwise nothing is done, and the answer is `false`. The
/// depth of a single result with few tiles is summed in slabs, which a second launch adds.
///
/// # Errors
/// Those of [`gemm`](super::gemm()).
pub fn sums_on_hopper(alpha: f32, add: bool, sums: &mut [Sum<'_>]) -> Result<bool, GemmError> {
    let Some((executor, kernel)) = layout(sums)? else { return Ok(false) };
    let Stored { rows: m, cols: n, .. } = sums[0].c.stored;
    let slabs = if let [only] = sums { only.slabs() } else { Slabs { count: 1, depth: usize::MAX } };
    let partials = match slabs.count > 1 || sums[0].c.dtype == DType::F32 {
        true => Some(allocate_partials(&executor, [m, n], slabs.count)?),
        false => None,
    };
    let mut params = GemmWgmmaParams {
        m: m as u64,
        alpha,
        sum_count: sums.len() as u32,
        term_count: sums[0].terms.len() as u32,
        add: u32::from(add),
        slabs: slabs.count as u32,
        slab_stages: u32::try_from(slabs.depth / GEMM_WGMMA_TILE_K as usize).unwrap_or(u32::MAX),
        partials: partials.as_ref().map_or(0, DeviceBuffer::address),
        ..GemmWgmmaParams::zeroed()
    };
    let map = |matrix: &Matrix<'_>, lines: u32, along: bool| -> Result<GemmTensorMap, GemmError> {
        let tiled = tiled(matrix, if along { lines } else { GEMM_WGMMA_TILE_K });
        Ok(GemmTensorMap { words: executor.tensor_map(matrix.buffer, tiled)? })
    };
    for (i, (a, b)) in sums.iter().flat_map(|sum| &sum.terms).enumerate() {
        params.a[i] = map(a, GEMM_WGMMA_TILE_M, !a.transposed)?;
        params.b[i] = map(b, GEMM_WGMMA_TILE_N, b.transposed)?;
        params.k[i] = a.shape()[1] as u64;
    }
    let mut pieces = 0;
    for (params, sum) in params.sums.iter_mut().zip(&*sums) {
        let Stored { rows, cols, row_stride } = sum.c.stored;
        pieces += tiles(rows, cols) * slabs.count;
        let [scale, unscaled] = scale::addresses(sum.scale.as_ref());
        *params = GemmWgmmaSum {
            c: sum.c.buffer.address(),
            bias: sum.bias.map_or(0, DeviceBuffer::address),
            scale,
            unscaled,
            n: cols as u64,
            c_stride: row_stride as u64,
        };
    }
    let grid = Grid::covering(pieces, 1, GEMM_WGMMA_THREADS).with_shared(GEMM_WGMMA_SHARED_BYTES);
    let results = sums.iter().map(Sum::finish_work).sum::<Work>();
    let written = partials.as_ref().map_or(results, |partials| Work::over([partials]));
    let work = sums.iter().map(Sum::work).sum::<Work>() + written;
    let grid = Grid { blocks: [grid.blocks[0].min(executor.multiprocessors()), 1, 1], ..grid }.doing(work);
    // SAFETY: the buffers were checked to be of this executor and to hold their matrices, and the partial products were just made
    // for these slabs; every result is borrowed mutably.
    unsafe { executor.launch(kernel, grid, &params)? };
    let (Some(partials), [only]) = (partials, sums) else { return Ok(true) };
    let of = params.sums[0];
    let sum = GemmSumParams {
        partials: partials.address(),
        c: of.c,
        bias: of.bias,
        scale: of.scale,
        unscaled: of.unscaled,
        c_stride: of.c_stride,
        m: params.m,
        n: of.n,
        slabs: u64::from(params.slabs),
        alpha,
        c_wide: u32::from(only.c.dtype == DType::F32),
        add: u64::from(add),
    };
    // SAFETY: as above; the launch before wrote all partial products.
    unsafe { executor.launch(&GEMM_SUM_BF16, sum_grid(m, n).doing(results + Work::over([&partials])), &sum)? };
    Ok(true)
}

/// Tiles of `[rows, cols]`.
fn tiles(rows: usize, cols: usize) -> usize {
    rows.div_ceil(GEMM_WGMMA_TILE_M as usize).saturating_mul(cols.div_ceil(GEMM_WGMMA_TILE_N as usize))
}

/// Checks every operand. The device and the kernel for how `A` and `B` are stored, or `None` if none fits.
fn layout(sums: &[Sum<'_>]) -> Result<Option<(Executor, &'static Kernel<GemmWgmmaParams>)>, GemmError> {
    let [first, ..] = sums else { return Ok(None) };
    let (m, terms) = (first.c.stored.rows, first.terms.len());
    let executor = first.c.buffer.executor();
    let Some((a, b)) = first.terms.first() else { return Ok(None) };
    let transposed = (a.transposed, b.transposed);
    let mut fits = executor.architecture() == Architecture::Hopper
        && sums.len() <= GEMM_WGMMA_MAX_SUMS as usize
        && sums.len() * terms <= GEMM_WGMMA_MAX_TERMS as usize;
    for Sum { terms: own, bias, scale, c } in sums {
        let n = c.stored.cols;
        c.check()?;
        if let Some(bias) = bias {
            let dtype = own.first().map_or(c.dtype, |(a, _)| a.dtype);
            Stored::dense(1, n).check("bias", elements(bias, dtype))?;
        }
        scale.as_ref().map_or(Ok(()), |scale| scale.check(c))?;
        Executor::of(first.c.buffer, [&*c.buffer].into_iter().chain(*bias))?;
        let written = c.dtype == DType::BF16 || c.dtype == DType::F32 && sums.len() == 1;
        fits &= own.len() == terms && c.stored.rows == m && written && m > 0 && n > 0;
        for (a, b) in own {
            let ([rows, k], [inner, cols]) = (a.shape(), b.shape());
            if k != inner {
                return Err(GemmError::InnerSize { a: a.shape(), b: b.shape() });
            }
            if [rows, cols] != [c.stored.rows, n] {
                return Err(GemmError::OutputShape { expected: [rows, cols], got: [c.stored.rows, n] });
            }
            a.check("A")?;
            b.check("B")?;
            Executor::of(first.c.buffer, [a.buffer, b.buffer])?;
            let readable = |matrix: &Matrix<'_>| {
                matrix.dtype == DType::BF16 && tiled(matrix, 1).is_readable(matrix.buffer.address())
            };
            fits &= (a.transposed, b.transposed) == transposed && readable(a) && readable(b);
        }
    }
    let kernel = match transposed {
        (false, true) => &GEMM_WGMMA_NT_BF16,
        (false, false) => &GEMM_WGMMA_NN_BF16,
        (true, false) => &GEMM_WGMMA_TN_BF16,
        (true, true) => return Ok(None),
    };
    Ok(fits.then(|| (executor.clone(), kernel)))
}

fn tiled(matrix: &Matrix<'_>, box_rows: u32) -> TiledMatrix {
    let Stored { rows, cols, row_stride } = matrix.stored;
    TiledMatrix { rows, cols, row_stride, box_rows }
}
