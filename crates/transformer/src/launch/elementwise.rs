//! Launching sums, quotients, multiples and conversions: [`crate::elementwise`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{
    ADD_BF16, ADD_F32, DIVIDE_F32, SCALE_BF16, SCALE_BF16_TO_F32, SCALE_F16_TO_BF16, SCALE_F16_TO_F32, SCALE_F32,
    SCALE_F32_TO_BF16,
};
use super::params::{BinaryParams, POINTWISE_ELEMENTS, POINTWISE_THREADS, ScaleParams};
use super::{Gradient, Typed, check_len, of_dtype};
use crate::{Result, TransformerError};

/// What elements are multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum Factor<'a> {
    /// A number.
    Constant(f32),
    /// A number times one that only the device knows, `[1]` f32: the gradient of a loss. Nothing waits for it.
    Times(f32, &'a DeviceBuffer),
}

/// Writes `a + b` to `y`. All hold `len` elements of `dtype`, f32 or bf16.
///
/// # Errors
/// [`TransformerError::Length`], [`TransformerError::KernelDType`] for f16, [`TransformerError::Device`] for buffers of
/// different devices and for what a launch refuses.
pub fn add(dtype: DType, len: usize, a: &DeviceBuffer, b: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    let kernel = of_dtype("add", dtype, &ADD_F32, &ADD_BF16)?;
    combine("add", kernel, dtype, len, [a, b], y)
}

/// Writes `a / b` to `y`. All hold `len` f32.
///
/// # Errors
/// As [`add`].
pub fn divide(len: usize, a: &DeviceBuffer, b: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    combine("divide", &DIVIDE_F32, DType::F32, len, [a, b], y)
}

/// Divides the `len` f32 of `y` by those of `b`.
///
/// # Errors
/// As [`add`].
pub fn divide_in_place(len: usize, b: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    combine("divide", &DIVIDE_F32, DType::F32, len, [y, b], y)
}

/// Launches a function of two elements. `y`, which the caller has borrowed mutably, may be the first operand.
fn combine(
    op: &'static str,
    kernel: &'static Kernel<BinaryParams>,
    dtype: DType,
    len: usize,
    [a, b]: [&DeviceBuffer; 2],
    y: &DeviceBuffer,
) -> Result<()> {
    check_len(op, "a", &[len], dtype, a)?;
    check_len(op, "b", &[len], dtype, b)?;
    check_len(op, "y", &[len], dtype, y)?;
    let executor = Executor::of(a, [b, y])?;
    let params = BinaryParams { a: a.address(), b: b.address(), y: y.address(), len: len as u64 };
    // SAFETY: the buffers were checked to be of this executor and to hold `len` elements; the callers have borrowed `y`
    // mutably. A thread reads its elements before it writes them.
    Ok(unsafe { executor.launch(kernel, grid(len).doing(Work::over([a, b, y])), &params) }?)
}

/// Writes `factor * x`, rounded to the type of `y`, or adds it to what `y` holds. Both hold `len` elements: `x` of any dtype,
/// `y` f32 or bf16.
///
/// # Errors
/// As [`add`].
pub fn scale(len: usize, factor: Factor<'_>, x: Typed<&DeviceBuffer>, y: Typed<Gradient<'_>>) -> Result<()> {
    launch_scale(len, factor, x, (y.0, &*y.1.values), y.1.add)
}

/// Multiplies the `len` elements of `y`, f32 or bf16, with `factor`.
///
/// # Errors
/// As [`add`].
pub fn scale_in_place(len: usize, factor: Factor<'_>, y: Typed<&mut DeviceBuffer>) -> Result<()> {
    let y = (y.0, &*y.1);
    launch_scale(len, factor, y, y, false)
}

/// Writes `x`, of any dtype, as f32 or bf16: the bits of a rounding to nearest.
///
/// # Errors
/// As [`add`].
pub fn convert(len: usize, x: Typed<&DeviceBuffer>, y: Typed<&mut DeviceBuffer>) -> Result<()> {
    scale(len, Factor::Constant(1.0), x, (y.0, Gradient::overwrite(y.1)))
}

/// `y` is borrowed mutably by the callers, and may be `x`.
fn launch_scale(
    len: usize,
    factor: Factor<'_>,
    x: Typed<&DeviceBuffer>,
    y: Typed<&DeviceBuffer>,
    add: bool,
) -> Result<()> {
    const OP: &str = "scale";
    let kernel = match (x.0, y.0) {
        (DType::F32, DType::F32) => &SCALE_F32,
        (DType::BF16, DType::BF16) => &SCALE_BF16,
        (DType::BF16, DType::F32) => &SCALE_BF16_TO_F32,
        (DType::F32, DType::BF16) => &SCALE_F32_TO_BF16,
        (DType::F16, DType::F32) => &SCALE_F16_TO_F32,
        (DType::F16, DType::BF16) => &SCALE_F16_TO_BF16,
        (_, DType::F16) => return Err(TransformerError::KernelDType { op: OP, got: DType::F16 }),
    };
    check_len(OP, "x", &[len], x.0, x.1)?;
    check_len(OP, "y", &[len], y.0, y.1)?;
    let (factor, multiplier) = match factor {
        Factor::Constant(factor) => (factor, None),
        Factor::Times(factor, multiplier) => (factor, Some(multiplier)),
    };
    multiplier.map_or(Ok(()), |multiplier| check_len(OP, "multiplier", &[1], DType::F32, multiplier))?;
    let executor = Executor::of(x.1, [y.1].into_iter().chain(multiplier))?;
    let params = ScaleParams {
        x: x.1.address(),
        y: y.1.address(),
        multiplier: multiplier.map_or(0, DeviceBuffer::address),
        len: len as u64,
        factor,
        add: u32::from(add),
    };
    // SAFETY: the buffers were checked to be of this executor and to hold `len` elements and one; the callers have borrowed
    // `y` mutably. A thread reads its elements before it writes them.
    Ok(unsafe { executor.launch(kernel, grid(len).doing(Work::over([x.1, y.1])), &params) }?)
}

fn grid(len: usize) -> Grid {
    Grid::covering(len, POINTWISE_ELEMENTS, POINTWISE_THREADS)
}
