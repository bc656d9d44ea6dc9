//! The products as kernels, on a GPU or emulated: the same functions over [`DeviceBuffer`]s.
//!
//! On Hopper, large bf16 products go through `wgmma` ([`sums_on_hopper`]).
//!
//! `A` and `B` are both f32 or both bf16, as stored or transposed; `C` is of their type or f32. bf16 products run on tensor
//! cores. Sums are f32 and rounded once where `C` is stored, with the error bound of the CPU implementation; a tensor core
//! may truncate where that one rounds, which doubles the bound.

mod hopper;
mod kernels;
mod matrix;
mod params;
mod plan;
mod slabs;

use device::DType;
use device::launch::{DeviceBuffer, Executor};

use crate::GemmError;
use crate::matrix::Stored;
use kernels::{GEMM_BF16, GEMM_F32, GEMM_NARROW_BF16, GEMM_NARROW_F32, GEMM_SUM_BF16, GEMM_SUM_F32};
use params::{GemmParams, GemmSumParams};
use plan::Plan;

pub use hopper::{Sum, sums_on_hopper};
pub use matrix::{Matrix, MatrixMut};
pub use slabs::{Slabs, sum_slabs};

/// What the product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Update<'a> {
    /// `C = alpha A B`. `C` is not read.
    Overwrite,
    /// `C += alpha A B`.
    Accumulate,
    /// `C = alpha A B + bias`, with the same `[n]`, of the type of `A`, added to every row. `C` is not read.
    Bias(&'a DeviceBuffer),
}

/// `C = alpha A B`, `C += alpha A B` or `C = alpha A B + bias`: [`crate::gemm`] on device buffers.
///
/// # Errors
/// [`GemmError::InnerSize`] and [`GemmError::OutputShape`] if the shapes do not belong together, [`GemmError::Length`] and
/// [`GemmError::RowStride`] if a buffer does not hold its matrix or bias, [`GemmError::KernelDType`] for other types,
/// [`GemmError::Device`] for buffers of different devices, no memory, and what a launch refuses.
pub fn gemm(alpha: f32, a: Matrix<'_>, b: Matrix<'_>, update: Update<'_>, c: MatrixMut<'_>) -> Result<(), GemmError> {
    let ([m, k], [inner, n]) = (a.shape(), b.shape());
    if k != inner {
        return Err(GemmError::InnerSize { a: a.shape(), b: b.shape() });
    }
    if [c.stored.rows, c.stored.cols] != [m, n] {
        return Err(GemmError::OutputShape { expected: [m, n], got: [c.stored.rows, c.stored.cols] });
    }
    a.check("A")?;
    b.check("B")?;
    c.check()?;
    let (square, narrow, sum) = match (a.dtype, b.dtype, c.dtype) {
        (DType::F32, DType::F32, DType::F32) => (&GEMM_F32, &GEMM_NARROW_F32, &GEMM_SUM_F32),
        (DType::BF16, DType::BF16, DType::BF16 | DType::F32) => (&GEMM_BF16, &GEMM_NARROW_BF16, &GEMM_SUM_BF16),
        (a, b, c) => return Err(GemmError::KernelDType { a, b, c }),
    };
    let bias = match update {
        Update::Bias(bias) => Some(bias),
        Update::Overwrite | Update::Accumulate => None,
    };
    if let Some(bias) = bias {
        Stored::dense(1, n).check("bias", matrix::elements(bias, a.dtype))?;
    }
    let executor = Executor::of(a.buffer, [b.buffer, &*c.buffer].into_iter().chain(bias))?;
    if m == 0 || n == 0 {
        return Ok(());
    }

    let plan = Plan::new(m, n, k);
    if !plan.narrow && plan.slabs.count == 1 {
        // With `c` in a sum of its own for as long as it takes to find out.
        let c = MatrixMut { buffer: &mut *c.buffer, ..c };
        let add = matches!(update, Update::Accumulate);
        if sums_on_hopper(alpha, add, &mut [Sum { terms: vec![(a, b)], bias, c }])? {
            return Ok(());
        }
    }
    let bias = bias.map_or(0, DeviceBuffer::address);
    let add = u64::from(matches!(update, Update::Accumulate));
    let whole = GemmParams {
        a: a.buffer.address(),
        b: b.buffer.address(),
        c: c.buffer.address(),
        bias,
        a_stride: a.stored.row_stride as u64,
        b_stride: b.stored.row_stride as u64,
        c_stride: c.stored.row_stride as u64,
        m: m as u64,
        n: n as u64,
        k: k as u64,
        slab_depth: plan.slabs.depth as u64,
        add,
        alpha,
        a_transposed: u32::from(a.transposed),
        b_transposed: u32::from(b.transposed),
        c_wide: u32::from(c.dtype == DType::F32),
    };
    let kernel = if plan.narrow { narrow } else { square };
    if plan.slabs.count == 1 {
        // SAFETY: the buffers were checked to be of this executor and to hold their matrices, with a block for each tile;
        // `c` is borrowed mutably.
        return Ok(unsafe { executor.launch(kernel, plan.grid, &whole) }?);
    }
    let elements = m.saturating_mul(n).saturating_mul(plan.slabs.count);
    let partials = executor.allocate(elements.saturating_mul(size_of::<f32>()))?;
    let products =
        GemmParams { c: partials.address(), bias: 0, c_stride: n as u64, add: 0, alpha: 1.0, c_wide: 1, ..whole };
    let sums = GemmSumParams {
        partials: partials.address(),
        c: whole.c,
        bias,
        c_stride: whole.c_stride,
        m: whole.m,
        n: whole.n,
        slabs: plan.slabs.count as u64,
        alpha,
        c_wide: whole.c_wide,
        add,
    };
    // SAFETY: as above; `partials` was just made for these slabs.
    unsafe {
        executor.launch(kernel, plan.grid, &products)?;
        executor.launch(sum, slabs::sum_grid(m, n), &sums)?;
    }
    Ok(())
}

/// `out[j] = alpha sum_i A[i, j]` in f32, or that added to what `out` holds: [`crate::column_sums`] on device buffers.
///
/// # Errors
/// Those of [`gemm`].
pub fn column_sums(alpha: f32, a: Matrix<'_>, update: Update<'_>, out: &mut DeviceBuffer) -> Result<(), GemmError> {
    let [rows, cols] = a.shape();
    let executor = a.buffer.executor();
    let ones = match a.dtype {
        DType::BF16 => executor.upload(&vec![half::bf16::ONE; rows]),
        DType::F32 | DType::F16 => executor.upload(&vec![1.0f32; rows]),
    }?;
    let ones = Matrix::new(&ones, a.dtype, 1, rows);
    gemm(alpha, ones, a, update, MatrixMut::new(out, DType::F32, 1, cols))
}
