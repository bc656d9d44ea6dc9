//! Sums of products on Hopper.

use bytemuck::Zeroable;
use device::DType;
use device::launch::{Architecture, DeviceBuffer, Executor, Grid, TiledMatrix, Work};

use super::kernels::{GEMM_WGMMA_NN_BF16, GEMM_WGMMA_NT_BF16};
use super::matrix::{Matrix, MatrixMut, elements};
use super::params::{
    GEMM_WGMMA_MAX_SUMS, GEMM_WGMMA_MAX_TERMS, GEMM_WGMMA_SHARED_BYTES, GEMM_WGMMA_THREADS, GEMM_WGMMA_TILE_K,
    GEMM_WGMMA_TILE_M, GEMM_WGMMA_TILE_N, GemmTensorMap, GemmWgmmaParams, GemmWgmmaSum,
};
use crate::GemmError;
use crate::matrix::Stored;

/// One result, `C = alpha sum_t A_t B_t`, plus a bias or what `C` holds.
#[derive(Debug)]
pub struct Sum<'a> {
    /// `[m, k_t]` and `[k_t, n]`, the depths of its own.
    pub terms: Vec<(Matrix<'a>, Matrix<'a>)>,
    /// `[n]` of the type of `A`.
    pub bias: Option<&'a DeviceBuffer>,
    /// `[m, n]`, written.
    pub c: MatrixMut<'a>,
}

impl Sum<'_> {
    fn work(&self) -> Work {
        let terms = self.terms.iter().map(|(a, b)| {
            let ([m, k], [_, n]) = (a.shape(), b.shape());
            Work::product([m, n, k]) + Work::over([a.buffer, b.buffer])
        });
        terms.sum::<Work>() + Work::over(self.bias.into_iter().chain([&*self.c.buffer]))
    }
}

/// Computes up to three results with as many rows and terms in one launch, if the device and the operands allow it: on
/// [`Architecture::Hopper`], all in bf16, no `A` transposed, all `B` transposed or none, and every row of `A` and `B`
/// beginning at a multiple of 16 bytes. Otherwise nothing is done, and the answer is `false`.
///
/// # Errors
/// Those of [`gemm`](super::gemm()).
pub fn sums_on_hopper(alpha: f32, add: bool, sums: &mut [Sum<'_>]) -> Result<bool, GemmError> {
    let Some((executor, b_transposed)) = layout(sums)? else { return Ok(false) };
    let mut params = GemmWgmmaParams {
        m: sums[0].c.stored.rows as u64,
        alpha,
        sum_count: sums.len() as u32,
        term_count: sums[0].terms.len() as u32,
        add: u32::from(add),
        ..GemmWgmmaParams::zeroed()
    };
    let [tile_m, tile_n, tile_k] = [GEMM_WGMMA_TILE_M, GEMM_WGMMA_TILE_N, GEMM_WGMMA_TILE_K];
    let b_rows = if b_transposed { tile_n } else { tile_k };
    let map = |matrix: &Matrix<'_>, box_rows| -> Result<GemmTensorMap, GemmError> {
        Ok(GemmTensorMap { words: executor.tensor_map(matrix.buffer, tiled(matrix, box_rows))? })
    };
    let mut tiles = 0;
    for (i, (a, b)) in sums.iter().flat_map(|sum| &sum.terms).enumerate() {
        (params.a[i], params.b[i], params.k[i]) = (map(a, tile_m)?, map(b, b_rows)?, a.stored.cols as u64);
    }
    for (params, sum) in params.sums.iter_mut().zip(&*sums) {
        let Stored { rows, cols, row_stride } = sum.c.stored;
        tiles += rows.div_ceil(tile_m as usize) * cols.div_ceil(tile_n as usize);
        *params = GemmWgmmaSum {
            c: sum.c.buffer.address(),
            bias: sum.bias.map_or(0, DeviceBuffer::address),
            n: cols as u64,
            c_stride: row_stride as u64,
        };
    }
    let grid = Grid::covering(tiles, 1, GEMM_WGMMA_THREADS).with_shared(GEMM_WGMMA_SHARED_BYTES);
    let work = sums.iter().map(Sum::work).sum();
    let grid = Grid { blocks: [grid.blocks[0].min(executor.multiprocessors()), 1, 1], ..grid }.doing(work);
    let kernel = if b_transposed { &GEMM_WGMMA_NT_BF16 } else { &GEMM_WGMMA_NN_BF16 };
    // SAFETY: the buffers were checked to be of this executor and to hold their matrices; every `c` is borrowed mutably.
    unsafe { executor.launch(kernel, grid, &params)? };
    Ok(true)
}

/// Checks every operand. The device, and whether all `B` are transposed, or `None` if the kernels do not fit.
fn layout(sums: &[Sum<'_>]) -> Result<Option<(Executor, bool)>, GemmError> {
    let [first, ..] = sums else { return Ok(None) };
    let (m, terms) = (first.c.stored.rows, first.terms.len());
    let executor = first.c.buffer.executor();
    let Some((_, b)) = first.terms.first() else { return Ok(None) };
    let b_transposed = b.transposed;
    let mut fits = executor.architecture() == Architecture::Hopper
        && sums.len() <= GEMM_WGMMA_MAX_SUMS as usize
        && sums.len() * terms <= GEMM_WGMMA_MAX_TERMS as usize;
    for Sum { terms: own, bias, c } in sums {
        let n = c.stored.cols;
        c.check()?;
        if let Some(bias) = bias {
            let dtype = own.first().map_or(c.dtype, |(a, _)| a.dtype);
            Stored::dense(1, n).check("bias", elements(bias, dtype))?;
        }
        Executor::of(first.c.buffer, [&*c.buffer].into_iter().chain(*bias))?;
        fits &= own.len() == terms && c.stored.rows == m && c.dtype == DType::BF16 && m > 0 && n > 0;
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
            fits &= !a.transposed && b.transposed == b_transposed && readable(a) && readable(b);
        }
    }
    Ok(fits.then(|| (executor.clone(), b_transposed)))
}

fn tiled(matrix: &Matrix<'_>, box_rows: u32) -> TiledMatrix {
    let Stored { rows, cols, row_stride } = matrix.stored;
    TiledMatrix { rows, cols, row_stride, box_rows }
}
