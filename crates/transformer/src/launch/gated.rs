//! Launching the gated activation: [`crate::gated`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::activation::code;
use super::kernels::{GATED_BACKWARD_BF16, GATED_BACKWARD_F32, GATED_FORWARD_BF16, GATED_FORWARD_F32};
use super::params::{GATED_THREADS, GatedBackwardParams, GatedForwardParams};
use super::{check_len, of_dtype};
use crate::gated::Shape;
use crate::{Activation, Result};

const OP: &str = "gated";

/// The two factors, or where their gradients are written. `B` is `&DeviceBuffer` or `&mut DeviceBuffer`.
#[derive(Clone, Copy, Debug)]
pub enum GateUp<B> {
    /// Apart.
    Separate {
        /// `[rows, features]`
        gate: B,
        /// `[rows, features]`
        up: B,
    },
    /// `[rows, 2 * features]`: in every row the gate, then up (Phi-3's `gate_up_proj`).
    Fused(B),
}

/// Two matrices in memory.
pub(super) struct Addresses {
    pub(super) gate: u64,
    pub(super) up: u64,
    /// Elements from row to row.
    pub(super) stride: u64,
}

impl<B: std::ops::Deref<Target = DeviceBuffer>> GateUp<B> {
    pub(super) fn addresses(
        &self,
        op: &'static str,
        shape: Shape,
        dtype: DType,
        names: [&'static str; 3],
    ) -> Result<Addresses> {
        let Shape { rows, features } = shape;
        let stride = features as u64;
        match self {
            GateUp::Separate { gate, up } => {
                check_len(op, names[0], &[rows, features], dtype, gate)?;
                check_len(op, names[1], &[rows, features], dtype, up)?;
                Ok(Addresses { gate: gate.address(), up: up.address(), stride })
            }
            GateUp::Fused(both) => {
                check_len(op, names[2], &[rows, 2, features], dtype, both)?;
                let up = both.address() + stride * dtype.size_bytes() as u64;
                Ok(Addresses { gate: both.address(), up, stride: 2 * stride })
            }
        }
    }

    pub(super) fn buffers(&self) -> impl Iterator<Item = &DeviceBuffer> {
        let (first, second) = match self {
            GateUp::Separate { gate, up } => (gate, Some(up)),
            GateUp::Fused(both) => (both, None),
        };
        std::iter::once(first).chain(second).map(|buffer| &**buffer)
    }
}

/// Writes `act(gate) * up` to `y`, `[rows, features]`. All operands are of `dtype`, f32 or bf16.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a buffer that does not fit `shape`, [`crate::TransformerError::KernelDType`] for
/// f16, [`crate::TransformerError::Device`] for buffers of different devices and for what a launch refuses.
pub fn forward(
    shape: Shape,
    dtype: DType,
    activation: Activation,
    gate_up: GateUp<&DeviceBuffer>,
    y: &mut DeviceBuffer,
) -> Result<()> {
    launch_forward(OP, shape, dtype, activation, (gate_up, None), y)
}

/// The forward, with or without a factor for each channel, `[features]` f32.
pub(super) fn launch_forward(
    op: &'static str,
    shape: Shape,
    dtype: DType,
    activation: Activation,
    (gate_up, scale): (GateUp<&DeviceBuffer>, Option<&DeviceBuffer>),
    y: &mut DeviceBuffer,
) -> Result<()> {
    let kernel = of_dtype(op, dtype, &GATED_FORWARD_F32, &GATED_FORWARD_BF16)?;
    let Addresses { gate, up, stride } = gate_up.addresses(op, shape, dtype, ["gate", "up", "gate_up"])?;
    check_len(op, "y", &[shape.rows, shape.features], dtype, y)?;
    scale.map_or(Ok(()), |scale| check_len(op, "scale", &[shape.features], DType::F32, scale))?;
    let read = || gate_up.buffers().chain(scale);
    let executor = Executor::of(y, read())?;
    let params = GatedForwardParams {
        gate,
        up,
        y: y.address(),
        scale: scale.map_or(0, DeviceBuffer::address),
        features: shape.features as u64,
        stride,
        activation: u64::from(code(activation)),
    };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each row;
    // `y` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid(shape).doing(Work::over(read().chain([&*y]))), &params) }?)
}

/// Arguments of [`backward`], all on one device.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Of all operands: f32 or bf16.
    pub dtype: DType,
    /// As given to [`forward`].
    pub gate_up: GateUp<&'a DeviceBuffer>,
    /// `[rows, features]`
    pub dy: &'a DeviceBuffer,
    /// Written.
    pub gradient: GateUp<&'a mut DeviceBuffer>,
}

/// Gradients of both factors.
///
/// # Errors
/// As [`forward`].
pub fn backward(shape: Shape, activation: Activation, args: Backward<'_>) -> Result<()> {
    let Backward { dtype, gate_up, dy, gradient } = args;
    let kernel = of_dtype(OP, dtype, &GATED_BACKWARD_F32, &GATED_BACKWARD_BF16)?;
    let factors = gate_up.addresses(OP, shape, dtype, ["gate", "up", "gate_up"])?;
    let gradients = gradient.addresses(OP, shape, dtype, ["dgate", "dup", "dgate_up"])?;
    check_len(OP, "dy", &[shape.rows, shape.features], dtype, dy)?;
    let executor = Executor::of(dy, gate_up.buffers().chain(gradient.buffers()))?;
    let work = Work::over(gate_up.buffers().chain(gradient.buffers()).chain([dy]));
    let params = GatedBackwardParams {
        gate: factors.gate,
        up: factors.up,
        dy: dy.address(),
        dgate: gradients.gate,
        dup: gradients.up,
        features: shape.features as u64,
        stride: factors.stride,
        gradient_stride: gradients.stride,
        activation: u64::from(code(activation)),
    };
    // SAFETY: as in `forward`; the gradients are borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid(shape).doing(work), &params) }?)
}

/// One block for each row; none if rows are empty.
fn grid(shape: Shape) -> Grid {
    let rows = if shape.features == 0 { 0 } else { shape.rows };
    Grid::covering(rows, 1, GATED_THREADS)
}
