//! Launching sums of all elements: [`crate::sums`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{INNER_PRODUCT_BF16, INNER_PRODUCT_F32, SQUARED_ERROR_BF16, SQUARED_ERROR_F32};
use super::params::{SUM_SHARED_BYTES, SUM_THREADS, SumParams};
use super::{check_len, of_dtype};
use crate::Result;

/// Writes the inner product of `x` and `weights` to `sum`, `[1]` f32. `x` holds `len` elements of `dtype`, f32 or bf16,
/// `weights` as many f32.
///
/// # Errors
/// [`crate::TransformerError::Length`], [`crate::TransformerError::KernelDType`] for f16,
/// [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn inner_product(
    dtype: DType,
    len: usize,
    x: &DeviceBuffer,
    weights: &DeviceBuffer,
    sum: &mut DeviceBuffer,
) -> Result<()> {
    const OP: &str = "inner_product";
    let kernel = of_dtype(OP, dtype, &INNER_PRODUCT_F32, &INNER_PRODUCT_BF16)?;
    launch((OP, kernel), dtype, len, x, ("weights", weights), None, sum)
}

/// Writes `x - targets` to `differences`, f32, and the sum of their squares to `sum`, `[1]` f32. `x` holds `len` elements of
/// `dtype`, f32 or bf16, `targets` as many f32.
///
/// # Errors
/// As [`inner_product`].
pub fn squared_error(
    dtype: DType,
    len: usize,
    x: &DeviceBuffer,
    targets: &DeviceBuffer,
    differences: &mut DeviceBuffer,
    sum: &mut DeviceBuffer,
) -> Result<()> {
    const OP: &str = "squared_error";
    let kernel = of_dtype(OP, dtype, &SQUARED_ERROR_F32, &SQUARED_ERROR_BF16)?;
    launch((OP, kernel), dtype, len, x, ("targets", targets), Some(differences), sum)
}

/// Checks and launches; the callers have borrowed `differences` and `sum` mutably.
fn launch(
    (op, kernel): (&'static str, &'static Kernel<SumParams>),
    dtype: DType,
    len: usize,
    x: &DeviceBuffer,
    (argument, other): (&'static str, &DeviceBuffer),
    differences: Option<&DeviceBuffer>,
    sum: &DeviceBuffer,
) -> Result<()> {
    check_len(op, "x", &[len], dtype, x)?;
    check_len(op, argument, &[len], DType::F32, other)?;
    differences.map_or(Ok(()), |differences| check_len(op, "differences", &[len], DType::F32, differences))?;
    check_len(op, "sum", &[1], DType::F32, sum)?;
    let executor = Executor::of(x, [other, sum].into_iter().chain(differences))?;
    let params = SumParams {
        x: x.address(),
        other: other.address(),
        differences: differences.map_or(0, DeviceBuffer::address),
        sum: sum.address(),
        len: len as u64,
    };
    let work = Work::over([x, other].into_iter().chain(differences));
    let grid = Grid::linear(1, SUM_THREADS).with_shared(SUM_SHARED_BYTES).doing(work);
    // SAFETY: the buffers were checked to be of this executor and to hold `len` elements and one; the callers have borrowed
    // what the kernel writes mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
