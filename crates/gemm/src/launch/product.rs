//! Launching one product.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Kernel, Work};

use super::kernels::{GEMM_BF16, GEMM_F32, GEMM_NARROW_BF16, GEMM_NARROW_F32, GEMM_SUM_BF16, GEMM_SUM_F32};
use super::matrix::{Matrix, MatrixMut, elements};
use super::params::{GemmParams, GemmSumParams};
use super::plan::Plan;
use super::scale;
use super::slabs::{allocate_partials, sum_grid};
use super::{ColumnScale, Sum, Update, sums_on_hopper};
use crate::GemmError;
use crate::matrix::Stored;

/// `C = alpha A B`, `C += alpha A B` or `C = alpha A B + bias`: [`crate::gemm`] on device buffers.
///
/// # Errors
/// [`GemmError::InnerSize`] and [`GemmError::OutputShape`] if the shapes do not belong together, [`GemmError::Length`] and
/// [`GemmError::RowStride`] if a buffer does not hold its matrix or bias, [`GemmError::KernelDType`] for other types,
/// [`GemmError::Device`] for buffers of different devices, no memory, and what a launch refuses.
pub fn gemm(alpha: f32, a: Matrix<'_>, b: Matrix<'_>, update: Update<'_>, c: MatrixMut<'_>) -> Result<(), GemmError> {
    product(alpha, (a, b), update, None, c)
}

/// [`gemm`], and the factors of its columns.
pub(super) fn product(
    alpha: f32,
    (a, b): (Matrix<'_>, Matrix<'_>),
    update: Update<'_>,
    mut scale: Option<ColumnScale<'_>>,
    c: MatrixMut<'_>,
) -> Result<(), GemmError> {
    let (bias, add) = match update {
        Update::Overwrite => (None, false),
        Update::Accumulate => (None, true),
        Update::Bias(bias) => (Some(bias), false),
    };
    let executor = check(&a, &b, bias, &c)?;
    scale.as_ref().map_or(Ok(()), |scale| scale.check(&c))?;
    let kernels = Kernels::of(a.dtype, b.dtype, c.dtype)?;
    let ([m, k], [_, n]) = (a.shape(), b.shape());
    if m == 0 || n == 0 {
        return Ok(());
    }
    let mut plan = Plan::new(m, n, k);
    if !plan.narrow {
        // With what is written in a sum of its own for as long as it takes to find out.
        let c = MatrixMut { buffer: &mut *c.buffer, ..c };
        let scale = scale.as_mut().map(ColumnScale::reborrow);
        if sums_on_hopper(alpha, add, &mut [Sum { terms: vec![(a, b)], bias, scale, c }])? {
            return Ok(());
        }
    }
    let scaling = scale.iter().flat_map(ColumnScale::buffers);
    let operands = [a.buffer, b.buffer].into_iter().chain(bias).chain(scaling);
    plan.grid = plan.grid.doing(Work::product([m, n, k]) + Work::over(operands));
    let [factors, unscaled] = scale::addresses(scale.as_ref());
    let params = GemmParams {
        a: a.buffer.address(),
        b: b.buffer.address(),
        c: c.buffer.address(),
        bias: bias.map_or(0, DeviceBuffer::address),
        scale: factors,
        unscaled,
        a_stride: a.stored.row_stride as u64,
        b_stride: b.stored.row_stride as u64,
        c_stride: c.stored.row_stride as u64,
        m: m as u64,
        n: n as u64,
        k: k as u64,
        slab_depth: plan.slabs.depth as u64,
        add: u64::from(add),
        alpha,
        a_transposed: u32::from(a.transposed),
        b_transposed: u32::from(b.transposed),
        c_wide: u32::from(c.dtype == DType::F32),
    };
    // SAFETY: the buffers were checked to be of this executor and to hold their matrices, with a block for each tile; what is
    // written is borrowed mutably.
    unsafe {
        if plan.slabs.count == 1 {
            plan.grid.work = plan.grid.work + Work::over([&*c.buffer]);
            kernels.whole(executor, plan, params)
        } else {
            kernels.slabs(executor, plan, params)
        }
    }
}

/// `out[j] = alpha sum_i A[i, j]` in f32, or that added to what `out` holds: [`crate::column_sums`] on device buffers.
///
/// # Errors
/// Those of [`gemm`].
pub fn column_sums(alpha: f32, a: Matrix<'_>, update: Update<'_>, out: &mut DeviceBuffer) -> Result<(), GemmError> {
    a.check("A")?;
    let [rows, cols] = a.shape();
    let executor = a.buffer.executor();
    let ones = match a.dtype {
        DType::BF16 => executor.constant(&vec![half::bf16::ONE; rows]),
        DType::F32 => executor.constant(&vec![1.0f32; rows]),
        DType::F16 => return Err(GemmError::KernelDType { a: a.dtype, b: a.dtype, c: DType::F32 }),
    }?;
    let ones = Matrix::new(&ones, a.dtype, 1, rows);
    gemm(alpha, ones, a, update, MatrixMut::new(out, DType::F32, 1, cols))
}

/// Fails unless the operands belong together and their buffers hold them, on the executor that is returned.
fn check<'a>(
    a: &Matrix<'a>,
    b: &Matrix<'_>,
    bias: Option<&DeviceBuffer>,
    c: &MatrixMut<'_>,
) -> Result<&'a Executor, GemmError> {
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
    if let Some(bias) = bias {
        Stored::dense(1, n).check("bias", elements(bias, a.dtype))?;
    }
    Ok(Executor::of(a.buffer, [b.buffer, &*c.buffer].into_iter().chain(bias))?)
}

/// What computes products of given types.
struct Kernels {
    square: &'static Kernel<GemmParams>,
    narrow: &'static Kernel<GemmParams>,
    sum: &'static Kernel<GemmSumParams>,
}

impl Kernels {
    fn of(a: DType, b: DType, c: DType) -> Result<Self, GemmError> {
        match (a, b, c) {
            (DType::F32, DType::F32, DType::F32) => {
                Ok(Self { square: &GEMM_F32, narrow: &GEMM_NARROW_F32, sum: &GEMM_SUM_F32 })
            }
            (DType::BF16, DType::BF16, DType::BF16 | DType::F32) => {
                Ok(Self { square: &GEMM_BF16, narrow: &GEMM_NARROW_BF16, sum: &GEMM_SUM_BF16 })
            }
            (a, b, c) => Err(GemmError::KernelDType { a, b, c }),
        }
    }

    fn of_plan(&self, plan: Plan) -> &'static Kernel<GemmParams> {
        if plan.narrow { self.narrow } else { self.square }
    }

    /// Each block sums the whole depth.
    ///
    /// # Safety
    /// The operands in `params` are live buffers of `executor` of these sizes, and nothing else uses C.
    unsafe fn whole(&self, executor: &Executor, plan: Plan, params: GemmParams) -> Result<(), GemmError> {
        // SAFETY: the caller's.
        Ok(unsafe { executor.launch(self.of_plan(plan), plan.grid, &params) }?)
    }

    /// Each block sums a slab of the depth, and a second launch the slabs.
    ///
    /// # Safety
    /// As [`Kernels::whole`].
    unsafe fn slabs(&self, executor: &Executor, plan: Plan, params: GemmParams) -> Result<(), GemmError> {
        let (m, n, count) = (params.m as usize, params.n as usize, plan.slabs.count);
        let partials = allocate_partials(executor, [m, n], count)?;
        let products = GemmParams {
            c: partials.address(),
            bias: 0,
            scale: 0,
            unscaled: 0,
            c_stride: params.n,
            add: 0,
            alpha: 1.0,
            c_wide: 1,
            ..params
        };
        let sums = GemmSumParams {
            partials: partials.address(),
            c: params.c,
            bias: params.bias,
            scale: params.scale,
            unscaled: params.unscaled,
            c_stride: params.c_stride,
            m: params.m,
            n: params.n,
            slabs: count as u64,
            alpha: params.alpha,
            c_wide: params.c_wide,
            add: params.add,
        };
        let partial_bytes = Work::over([&partials]);
        let grid = plan.grid.doing(plan.grid.work + partial_bytes);
        let result_bytes = if params.c_wide == 1 { size_of::<f32>() } else { size_of::<u16>() };
        let sum_grid = sum_grid(m, n).doing(partial_bytes + Work::bytes(m * n * result_bytes));
        // SAFETY: the caller's; `partials` was just made for these slabs.
        unsafe {
            executor.launch(self.of_plan(plan), grid, &products)?;
            Ok(executor.launch(self.sum, sum_grid, &sums)?)
        }
    }
}
