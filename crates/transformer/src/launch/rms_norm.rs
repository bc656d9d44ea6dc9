//! Launching the root mean square norm: [`crate::rms_norm`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::column_sum::{self, Partials};
use super::kernels::{
    RMS_NORM_BACKWARD_BF16, RMS_NORM_BACKWARD_F32, RMS_NORM_FORWARD_BF16, RMS_NORM_FORWARD_F32, RMS_NORM_WEIGHT_BF16,
    RMS_NORM_WEIGHT_F32,
};
use super::params::{
    NORM_SHARED_BYTES, NORM_THREADS, RmsNormBackwardParams, RmsNormForwardParams, RmsNormWeightParams,
};
use super::{Gradient, check_len, of_dtype};
use crate::Result;
use crate::rms_norm::Shape;

const OP: &str = "rms_norm";

/// Arguments of [`forward`], all on one device.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Of `x`, `weight` and `y`: f32 or bf16.
    pub dtype: DType,
    /// `[rows, hidden]`
    pub x: &'a DeviceBuffer,
    /// `[hidden]`
    pub weight: &'a DeviceBuffer,
    /// `[rows, hidden]`, written.
    pub y: &'a mut DeviceBuffer,
    /// `[rows]` f32, written: what [`backward`] needs besides `x`.
    pub rstd: &'a mut DeviceBuffer,
}

/// Normalises every row.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a buffer that does not fit `shape`, [`crate::TransformerError::KernelDType`] for
/// f16, [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn forward(shape: Shape, args: Forward<'_>) -> Result<()> {
    let Forward { dtype, x, weight, y, rstd } = args;
    let kernel = of_dtype(OP, dtype, &RMS_NORM_FORWARD_F32, &RMS_NORM_FORWARD_BF16)?;
    let Shape { rows, hidden, eps, unit_offset } = shape;
    check_len(OP, "x", &[rows, hidden], dtype, x)?;
    check_len(OP, "weight", &[hidden], dtype, weight)?;
    check_len(OP, "y", &[rows, hidden], dtype, y)?;
    check_len(OP, "rstd", &[rows], DType::F32, rstd)?;
    let executor = Executor::of(x, [weight, &*y, &*rstd])?;
    let params = RmsNormForwardParams {
        x: x.address(),
        weight: weight.address(),
        y: y.address(),
        rstd: rstd.address(),
        hidden: hidden as u64,
        eps,
        offset: offset(unit_offset),
    };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each row;
    // `y` and `rstd` are borrowed mutably.
    Ok(unsafe { executor.launch(kernel, one_block_each(rows).doing(Work::over([x, &*y])), &params) }?)
}

/// Arguments of [`backward`], all on one device.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Of `x`, `weight`, `dy` and `dx`: f32 or bf16.
    pub dtype: DType,
    /// `[rows, hidden]`, as given to [`forward`].
    pub x: &'a DeviceBuffer,
    /// `[hidden]`, as given to [`forward`].
    pub weight: &'a DeviceBuffer,
    /// `[rows]`, as [`forward`] wrote it.
    pub rstd: &'a DeviceBuffer,
    /// `[rows, hidden]`
    pub dy: &'a DeviceBuffer,
    /// `[rows, hidden]`, if wanted.
    pub dx: Option<Gradient<'a>>,
    /// `[hidden]` f32, if wanted.
    pub dweight: Option<Gradient<'a>>,
}

/// Gradients of `x` and of the weight.
///
/// # Errors
/// As [`forward`]; also [`crate::TransformerError::Device`] without memory for the sums of blocks.
pub fn backward(shape: Shape, args: Backward<'_>) -> Result<()> {
    let Backward { dtype, x, weight, rstd, dy, dx, dweight } = args;
    let row_kernel = of_dtype(OP, dtype, &RMS_NORM_BACKWARD_F32, &RMS_NORM_BACKWARD_BF16)?;
    let weight_kernel = of_dtype(OP, dtype, &RMS_NORM_WEIGHT_F32, &RMS_NORM_WEIGHT_BF16)?;
    let Shape { rows, hidden, unit_offset, .. } = shape;
    check_len(OP, "x", &[rows, hidden], dtype, x)?;
    check_len(OP, "weight", &[hidden], dtype, weight)?;
    check_len(OP, "rstd", &[rows], DType::F32, rstd)?;
    check_len(OP, "dy", &[rows, hidden], dtype, dy)?;
    if let Some(dx) = &dx {
        check_len(OP, "dx", &[rows, hidden], dtype, dx.values)?;
    }
    if let Some(dweight) = &dweight {
        check_len(OP, "dweight", &[hidden], DType::F32, dweight.values)?;
    }
    let written = dx.iter().chain(&dweight).map(|gradient| &*gradient.values);
    let executor = Executor::of(x, [weight, rstd, dy].into_iter().chain(written))?;

    if let Some(dx) = dx {
        let params = RmsNormBackwardParams {
            x: x.address(),
            weight: weight.address(),
            rstd: rstd.address(),
            dy: dy.address(),
            dx: dx.values.address(),
            hidden: hidden as u64,
            offset: offset(unit_offset),
            add: u32::from(dx.add),
        };
        // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each
        // row; `dx` is borrowed mutably.
        unsafe { executor.launch(row_kernel, one_block_each(rows).doing(Work::over([x, dy, &*dx.values])), &params)? };
    }
    if let Some(dweight) = dweight {
        let partials = Partials::new(executor, rows, hidden)?;
        let terms = RmsNormWeightParams {
            x: x.address(),
            rstd: rstd.address(),
            dy: dy.address(),
            partials: partials.buffer.address(),
            rows: rows as u64,
            hidden: hidden as u64,
        };
        // SAFETY: as above; `partials` was just made for these blocks.
        unsafe { executor.launch(weight_kernel, column_sum::grid(rows, hidden).doing(Work::over([x, dy])), &terms)? };
        partials.add_up(executor, dweight)?;
    }
    Ok(())
}

fn one_block_each(rows: usize) -> Grid {
    Grid::covering(rows, 1, NORM_THREADS).with_shared(NORM_SHARED_BYTES)
}

fn offset(unit_offset: bool) -> f32 {
    if unit_offset { 1.0 } else { 0.0 }
}
