//! Launching the forward.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Work};

use super::kernels::{IA3_SCALE_BF16, IA3_SCALE_F32};
use super::of_dtype;
use super::params::{IA3_SCALE_TOKENS, Ia3ScaleParams};
use crate::{Ia3Error, Ia3Shape};

/// Operands of [`forward`], all on one device.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Of `x` and `y`: f32 or bf16.
    pub dtype: DType,
    /// Activations `[num_tokens, features]`.
    pub x: &'a DeviceBuffer,
    /// Factors `[features]`, f32.
    pub ia3_l: &'a DeviceBuffer,
    /// Result `[num_tokens, features]`. Overwritten.
    pub y: &'a mut DeviceBuffer,
}

/// Scales the channels.
///
/// # Errors
/// [`Ia3Error::Length`], [`Ia3Error::DType`]; [`Ia3Error::Device`] for buffers of different devices and for what a launch
/// refuses.
pub fn forward(shape: Ia3Shape, args: Forward<'_>) -> Result<(), Ia3Error> {
    let Forward { dtype, x, ia3_l, y } = args;
    let kernel = of_dtype(dtype, &IA3_SCALE_F32, &IA3_SCALE_BF16)?;
    shape.check_token_buffer("x", x, dtype)?;
    shape.check_channel_buffer("ia3_l", ia3_l)?;
    shape.check_token_buffer("y", y, dtype)?;
    let executor = Executor::of(x, [ia3_l, &*y])?;
    let params = Ia3ScaleParams {
        x: x.address(),
        ia3_l: ia3_l.address(),
        y: y.address(),
        num_tokens: shape.num_tokens as u64,
        features: shape.features as u64,
    };
    let grid = shape.grid(IA3_SCALE_TOKENS).doing(Work::over([x, ia3_l, &*y]));
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says; `y` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
