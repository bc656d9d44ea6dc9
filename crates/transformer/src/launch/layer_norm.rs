//! Launching layer norm: [`crate::layer_norm`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::column_sum::{self, Partials};
use super::kernels::{
    LAYER_NORM_BACKWARD_BF16, LAYER_NORM_BACKWARD_F32, LAYER_NORM_FORWARD_BF16, LAYER_NORM_FORWARD_F32,
    LAYER_NORM_WEIGHT_BF16, LAYER_NORM_WEIGHT_F32,
};
use super::params::{
    LayerNormBackwardParams, LayerNormForwardParams, LayerNormWeightParams, NORM_SHARED_BYTES, NORM_THREADS,
};
use super::{Gradient, check_len, of_dtype};
use crate::Result;
use crate::layer_norm::Shape;

const OP: &str = "layer_norm";

/// Arguments of [`forward`], all on one device.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Of `x`, `weight`, `bias` and `y`: f32 or bf16.
    pub dtype: DType,
    /// `[rows, hidden]`
    pub x: &'a DeviceBuffer,
    /// `[hidden]`
    pub weight: &'a DeviceBuffer,
    /// `[hidden]`
    pub bias: Option<&'a DeviceBuffer>,
    /// `[rows, hidden]`, written.
    pub y: &'a mut DeviceBuffer,
    /// `[rows, 2]` f32, written: mean and rstd of each row, what [`backward`] needs besides `x`.
    pub statistics: &'a mut DeviceBuffer,
}

/// Normalises every row.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a buffer that does not fit `shape`, [`crate::TransformerError::KernelDType`] for
/// f16, [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn forward(shape: Shape, args: Forward<'_>) -> Result<()> {
    let Forward { dtype, x, weight, bias, y, statistics } = args;
    let kernel = of_dtype(OP, dtype, &LAYER_NORM_FORWARD_F32, &LAYER_NORM_FORWARD_BF16)?;
    let Shape { rows, hidden, eps } = shape;
    check_len(OP, "x", &[rows, hidden], dtype, x)?;
    check_len(OP, "weight", &[hidden], dtype, weight)?;
    bias.map_or(Ok(()), |bias| check_len(OP, "bias", &[hidden], dtype, bias))?;
    check_len(OP, "y", &[rows, hidden], dtype, y)?;
    check_len(OP, "statistics", &[rows, 2], DType::F32, statistics)?;
    let executor = Executor::of(x, [weight, &*y, &*statistics].into_iter().chain(bias))?;
    let params = LayerNormForwardParams {
        x: x.address(),
        weight: weight.address(),
        bias: bias.map_or(0, DeviceBuffer::address),
        y: y.address(),
        statistics: statistics.address(),
        hidden: hidden as u64,
        eps,
        padding: 0,
    };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each row;
    // `y` and `statistics` are borrowed mutably.
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
    /// `[rows, 2]`, as [`forward`] wrote it.
    pub statistics: &'a DeviceBuffer,
    /// `[rows, hidden]`
    pub dy: &'a DeviceBuffer,
    /// `[rows, hidden]`, if wanted.
    pub dx: Option<Gradient<'a>>,
    /// `[hidden]` f32, if wanted.
    pub dweight: Option<Gradient<'a>>,
    /// `[hidden]` f32, if wanted.
    pub dbias: Option<Gradient<'a>>,
}

/// Gradients of `x`, of the weight and of the bias.
///
/// # Errors
/// As [`forward`]; also [`crate::TransformerError::Device`] without memory for the sums of blocks.
pub fn backward(shape: Shape, args: Backward<'_>) -> Result<()> {
    let Backward { dtype, x, weight, statistics, dy, dx, dweight, dbias } = args;
    let row_kernel = of_dtype(OP, dtype, &LAYER_NORM_BACKWARD_F32, &LAYER_NORM_BACKWARD_BF16)?;
    let weight_kernel = of_dtype(OP, dtype, &LAYER_NORM_WEIGHT_F32, &LAYER_NORM_WEIGHT_BF16)?;
    let Shape { rows, hidden, .. } = shape;
    check_len(OP, "x", &[rows, hidden], dtype, x)?;
    check_len(OP, "weight", &[hidden], dtype, weight)?;
    check_len(OP, "statistics", &[rows, 2], DType::F32, statistics)?;
    check_len(OP, "dy", &[rows, hidden], dtype, dy)?;
    if let Some(dx) = &dx {
        check_len(OP, "dx", &[rows, hidden], dtype, dx.values)?;
    }
    for (argument, gradient) in [("dweight", &dweight), ("dbias", &dbias)] {
        if let Some(gradient) = gradient {
            check_len(OP, argument, &[hidden], DType::F32, gradient.values)?;
        }
    }
    let written = dx.iter().chain(&dweight).chain(&dbias).map(|gradient| &*gradient.values);
    let executor = Executor::of(x, [weight, statistics, dy].into_iter().chain(written))?;

    if let Some(dx) = dx {
        let params = LayerNormBackwardParams {
            x: x.address(),
            weight: weight.address(),
            statistics: statistics.address(),
            dy: dy.address(),
            dx: dx.values.address(),
            hidden: hidden as u64,
            add: u64::from(dx.add),
        };
        // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each
        // row; `dx` is borrowed mutably.
        unsafe { executor.launch(row_kernel, one_block_each(rows).doing(Work::over([x, dy, &*dx.values])), &params)? };
    }
    if dweight.is_none() && dbias.is_none() {
        return Ok(());
    }
    let partials = |wanted| if wanted { Partials::new(executor, rows, hidden).map(Some) } else { Ok(None) };
    let (of_weight, of_bias) = (partials(dweight.is_some())?, partials(dbias.is_some())?);
    let address = |partials: &Option<Partials>| partials.as_ref().map_or(0, |partials| partials.buffer.address());
    let terms = LayerNormWeightParams {
        x: x.address(),
        statistics: statistics.address(),
        dy: dy.address(),
        weight_partials: address(&of_weight),
        bias_partials: address(&of_bias),
        rows: rows as u64,
        hidden: hidden as u64,
    };
    // SAFETY: as above; the partial sums were just made for these blocks, and what is not wanted has no address.
    unsafe { executor.launch(weight_kernel, column_sum::grid(rows, hidden).doing(Work::over([x, dy])), &terms)? };
    for (partials, gradient) in [(of_weight, dweight), (of_bias, dbias)] {
        if let (Some(partials), Some(gradient)) = (partials, gradient) {
            partials.add_up(executor, gradient)?;
        }
    }
    Ok(())
}

fn one_block_each(rows: usize) -> Grid {
    Grid::covering(rows, 1, NORM_THREADS).with_shared(NORM_SHARED_BYTES)
}
