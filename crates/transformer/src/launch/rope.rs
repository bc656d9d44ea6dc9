//! Launching rotary position embedding: [`crate::rope`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{ROPE_BF16, ROPE_F32};
use super::params::{ROPE_THREADS, RopeParams};
use super::{check_len, of_dtype};
use crate::rope::{Direction, Shape};
use crate::{Result, RopeTable, TransformerError};

const OP: &str = "rope";

/// The tables and the positions of one batch, on a device. A kernel cannot refuse a position beyond the tables, so both are
/// checked together, when they are copied there.
#[derive(Debug)]
pub struct Angles {
    tables: Tables,
    /// `[num_tokens]` u32
    positions: DeviceBuffer,
}

/// A [`RopeTable`] on a device. Clones share the memory.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `[max_positions, rotary_dim / 2]` f32
    cos: DeviceBuffer,
    /// `[max_positions, rotary_dim / 2]` f32
    sin: DeviceBuffer,
    rotary_dim: usize,
    max_positions: usize,
}

impl Tables {
    /// Copies `table` to `executor`.
    ///
    /// # Errors
    /// [`TransformerError::Device`] if the memory cannot be had.
    pub fn new(executor: &Executor, table: &RopeTable) -> Result<Self> {
        let (cos, sin) = table.values();
        Ok(Self {
            cos: executor.upload(cos)?,
            sin: executor.upload(sin)?,
            rotary_dim: table.rotary_dim(),
            max_positions: table.max_positions(),
        })
    }

    /// Where it is.
    pub(crate) fn executor(&self) -> &Executor {
        self.cos.executor()
    }

    /// Each token's place in its sequence, copied beside the tables.
    ///
    /// # Errors
    /// [`TransformerError::Position`] for one beyond the tables, [`TransformerError::Device`] without memory.
    pub fn angles(&self, positions: &[u32]) -> Result<Angles> {
        let max_positions = self.max_positions;
        match positions.iter().position(|&p| p as usize >= max_positions) {
            Some(index) => Err(TransformerError::Position { index, position: positions[index], max_positions }),
            None => Ok(Angles { tables: self.clone(), positions: self.cos.executor().constant(positions)? }),
        }
    }
}

/// Arguments of [`forward`], all on one device.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Of `x` and `y`: f32 or bf16.
    pub dtype: DType,
    /// `[num_tokens, row_stride]`
    pub x: &'a DeviceBuffer,
    /// Tables and positions.
    pub angles: &'a Angles,
    /// `[num_tokens, num_heads * head_dim]`, written.
    pub y: &'a mut DeviceBuffer,
}

/// Rotates into another buffer, which has no gaps between its rows.
///
/// # Errors
/// [`TransformerError::RotaryDim`] or [`TransformerError::Length`] for arguments that do not fit,
/// [`TransformerError::KernelDType`] for f16, [`TransformerError::Device`] for buffers of different devices and for what a
/// launch refuses.
pub fn forward(shape: Shape, args: Forward<'_>) -> Result<()> {
    let Forward { dtype, x, angles, y } = args;
    let width = shape.num_heads.saturating_mul(shape.head_dim);
    check_len(OP, "x", &[shape.num_tokens, shape.row_stride], dtype, x)?;
    check_len(OP, "y", &[shape.num_tokens, width], dtype, y)?;
    let out = Out { buffer: y, stride: width };
    rotate(shape, dtype, (x, angles), out, Direction::Forward)
}

/// Arguments of [`in_place`], all on one device.
#[derive(Debug)]
pub struct InPlace<'a> {
    /// Of `x`: f32 or bf16.
    pub dtype: DType,
    /// `[num_tokens, row_stride]`, rotated.
    pub x: &'a mut DeviceBuffer,
    /// Tables and positions.
    pub angles: &'a Angles,
    /// [`Direction::Backward`] turns the gradient of `y` into that of `x`.
    pub direction: Direction,
}

/// Rotates where the values are.
///
/// # Errors
/// As [`forward`].
pub fn in_place(shape: Shape, args: InPlace<'_>) -> Result<()> {
    let InPlace { dtype, x, angles, direction } = args;
    let x = &*x;
    check_len(OP, "x", &[shape.num_tokens, shape.row_stride], dtype, x)?;
    let out = Out { buffer: x, stride: shape.row_stride };
    rotate(shape, dtype, (x, angles), out, direction)
}

/// Where the result goes. The caller holds the buffer mutably.
struct Out<'a> {
    buffer: &'a DeviceBuffer,
    /// Elements from row to row.
    stride: usize,
}

fn rotate(
    shape: Shape,
    dtype: DType,
    (x, angles): (&DeviceBuffer, &Angles),
    out: Out<'_>,
    direction: Direction,
) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &ROPE_F32, &ROPE_BF16)?;
    let Angles { tables, positions } = angles;
    let (rotary_dim, head_dim) = (tables.rotary_dim, shape.head_dim);
    if rotary_dim > head_dim {
        return Err(TransformerError::RotaryDim { rotary_dim, head_dim });
    }
    let width = shape.num_heads.saturating_mul(head_dim);
    if shape.row_stride < width {
        let (argument, got) = ("row", shape.row_stride);
        return Err(TransformerError::Length { op: OP, argument, expected: width, got });
    }
    let got = positions.len_bytes() / size_of::<u32>();
    if got != shape.num_tokens {
        return Err(TransformerError::Length { op: OP, argument: "positions", expected: shape.num_tokens, got });
    }
    let executor = Executor::of(x, [out.buffer, &tables.cos, positions])?;
    // A row of heads that does not fit 32 bits is no buffer's, unless there is no token.
    let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let params = RopeParams {
        x: x.address(),
        y: out.buffer.address(),
        cos: tables.cos.address(),
        sin: tables.sin.address(),
        positions: positions.address(),
        x_stride: shape.row_stride as u64,
        y_stride: out.stride as u64,
        num_heads: size(shape.num_heads),
        head_dim: size(head_dim),
        rotary_dim: size(rotary_dim),
        direction: if direction == Direction::Forward { 1.0 } else { -1.0 },
    };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, the positions to lie within
    // the tables when both were made; the caller borrows the result mutably.
    Ok(unsafe {
        executor.launch(
            kernel,
            Grid::covering(shape.num_tokens, 1, ROPE_THREADS).doing(Work::over([x, out.buffer])),
            &params,
        )
    }?)
}
