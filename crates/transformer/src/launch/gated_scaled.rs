//! Launching the gated activation with a factor for each channel: [`crate::gated_scaled`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Work};

use super::activation::code;
use super::column_sum::{self, Partials};
use super::gated::{GateUp, launch_forward};
use super::kernels::{GATED_SCALED_BACKWARD_BF16, GATED_SCALED_BACKWARD_F32};
use super::params::{COLUMN_SUM_ROWS, GatedScaledBackwardParams};
use super::{Gradient, check_len, of_dtype};
use crate::gated::Shape;
use crate::{Activation, Result, gated_scaled};

const OP: &str = "gated_scaled";

// The order of the sum is part of the result.
const _: () = assert!(COLUMN_SUM_ROWS as usize == gated_scaled::ROWS);

/// Writes `act(gate) * up * scale` to `y`, `[rows, features]`. `scale` is `[features]` f32, all else of `dtype`, f32 or bf16.
///
/// # Errors
/// As [`gated::forward`](super::gated::forward).
pub fn forward(
    shape: Shape,
    dtype: DType,
    activation: Activation,
    gate_up: GateUp<&DeviceBuffer>,
    scale: &DeviceBuffer,
    y: &mut DeviceBuffer,
) -> Result<()> {
    launch_forward(OP, shape, dtype, activation, (gate_up, Some(scale)), y)
}

/// Arguments of [`backward`], all on one device.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Of all operands but the scale and its gradient: f32 or bf16.
    pub dtype: DType,
    /// As given to [`forward`].
    pub gate_up: GateUp<&'a DeviceBuffer>,
    /// As given to [`forward`].
    pub scale: &'a DeviceBuffer,
    /// `[rows, features]`
    pub dy: &'a DeviceBuffer,
    /// Written.
    pub gradient: GateUp<&'a mut DeviceBuffer>,
    /// `[features]` f32
    pub dscale: Gradient<'a>,
}

/// Gradients of both factors and of the scale, in one pass and a sum of what its blocks leave.
///
/// # Errors
/// As [`forward`]; [`crate::TransformerError::Device`] also without memory.
pub fn backward(shape: Shape, activation: Activation, args: Backward<'_>) -> Result<()> {
    let Shape { rows, features } = shape;
    let Backward { dtype, gate_up, scale, dy, gradient, dscale } = args;
    let kernel = of_dtype(OP, dtype, &GATED_SCALED_BACKWARD_F32, &GATED_SCALED_BACKWARD_BF16)?;
    let factors = gate_up.addresses(OP, shape, dtype, ["gate", "up", "gate_up"])?;
    let gradients = gradient.addresses(OP, shape, dtype, ["dgate", "dup", "dgate_up"])?;
    check_len(OP, "scale", &[features], DType::F32, scale)?;
    check_len(OP, "dy", &[rows, features], dtype, dy)?;
    check_len(OP, "dscale", &[features], DType::F32, dscale.values)?;
    let moved = || gate_up.buffers().chain(gradient.buffers());
    let executor = Executor::of(dy, moved().chain([scale, &*dscale.values]))?;
    let partials = Partials::new(executor, rows, features)?;
    let params = GatedScaledBackwardParams {
        gate: factors.gate,
        up: factors.up,
        scale: scale.address(),
        dy: dy.address(),
        dgate: gradients.gate,
        dup: gradients.up,
        partials: partials.buffer.address(),
        rows: rows as u64,
        features: features as u64,
        stride: factors.stride,
        gradient_stride: gradients.stride,
        activation: u64::from(code(activation)),
    };
    let grid = column_sum::grid(rows, features).doing(Work::over(moved().chain([dy, scale, &partials.buffer])));
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with a block for each group of
    // rows and of columns; `partials` was just made for these blocks, and the gradients are borrowed mutably.
    unsafe { executor.launch(kernel, grid, &params)? };
    partials.add_up(executor, dscale)
}
