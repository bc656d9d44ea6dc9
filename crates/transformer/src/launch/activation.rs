//! Launching an activation: [`crate::activation`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{
    ACTIVATION_BACKWARD_BF16, ACTIVATION_BACKWARD_F32, ACTIVATION_FORWARD_BF16, ACTIVATION_FORWARD_F32,
};
use super::params::{
    ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_QUICK_GELU, ACTIVATION_RELU, ACTIVATION_SILU, ACTIVATION_TANH,
    POINTWISE_ELEMENTS, POINTWISE_THREADS, PointwiseParams,
};
use super::{check_len, of_dtype};
use crate::{Activation, Result};

const OP: &str = "activation";

/// Writes `act(x)` to `y`. Both hold `len` elements of `dtype`, f32 or bf16.
///
/// # Errors
/// [`crate::TransformerError::Length`], [`crate::TransformerError::KernelDType`] for f16,
/// [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn forward(dtype: DType, activation: Activation, len: usize, x: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &ACTIVATION_FORWARD_F32, &ACTIVATION_FORWARD_BF16)?;
    pointwise(OP, kernel, dtype, len, [("x", x), ("y", y)], (code(activation), 0.0))
}

/// Turns `dy`, the gradient of `act(x)`, into the gradient of `x` in place.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    dtype: DType,
    activation: Activation,
    len: usize,
    x: &DeviceBuffer,
    dy: &mut DeviceBuffer,
) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &ACTIVATION_BACKWARD_F32, &ACTIVATION_BACKWARD_BF16)?;
    pointwise(OP, kernel, dtype, len, [("x", x), ("dy", dy)], (code(activation), 0.0))
}

/// Launches a function of single elements from the first buffer to the second, which the caller has borrowed mutably.
pub(super) fn pointwise(
    op: &'static str,
    kernel: &'static Kernel<PointwiseParams>,
    dtype: DType,
    len: usize,
    [(from, x), (to, y)]: [(&'static str, &DeviceBuffer); 2],
    (activation, cap): (u32, f32),
) -> Result<()> {
    check_len(op, from, &[len], dtype, x)?;
    check_len(op, to, &[len], dtype, y)?;
    let executor = Executor::of(x, [y])?;
    let params = PointwiseParams { x: x.address(), y: y.address(), len: len as u64, activation, cap };
    let grid = Grid::covering(len, POINTWISE_ELEMENTS, POINTWISE_THREADS);
    // SAFETY: both buffers were checked to be of this executor and to hold `len` elements; `y` is borrowed mutably by the
    // callers of this function.
    Ok(unsafe { executor.launch(kernel, grid.doing(Work::over([x, x, y])), &params) }?)
}

/// How the kernels call the function.
pub(super) fn code(activation: Activation) -> u32 {
    match activation {
        Activation::Silu => ACTIVATION_SILU,
        Activation::Gelu => ACTIVATION_GELU,
        Activation::GeluTanh => ACTIVATION_GELU_TANH,
        Activation::QuickGelu => ACTIVATION_QUICK_GELU,
        Activation::Relu => ACTIVATION_RELU,
        Activation::Tanh => ACTIVATION_TANH,
    }
}
