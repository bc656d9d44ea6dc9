//! Launching the same rows before every sequence: [`crate::prepend`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{
    PREPEND_BACKWARD_PROMPT_BF16, PREPEND_BACKWARD_PROMPT_BF16_TO_F32, PREPEND_BACKWARD_PROMPT_F32,
    PREPEND_BACKWARD_X_BF16, PREPEND_BACKWARD_X_F32, PREPEND_FORWARD_BF16, PREPEND_FORWARD_F32,
    PREPEND_FORWARD_F32_TO_BF16,
};
use super::params::{PrependParams, ROWS_THREADS};
use super::rows::columns_of_blocks;
use super::{Gradient, Starts, Typed, check_len, of_dtype};
use crate::{Result, TransformerError};

const OP: &str = "prepend";

/// Sizes, and where the sequences lie.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Rows in front of every sequence.
    pub prompt_rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// The sequences of `x`.
    pub starts: &'a Starts,
}

impl Shape<'_> {
    /// Rows of `y`.
    pub fn num_rows(&self) -> usize {
        self.starts.num_sequences().saturating_mul(self.prompt_rows).saturating_add(self.starts.num_tokens())
    }

    /// Blocks that take one row each.
    fn grid(&self, rows: usize) -> Grid {
        Grid::covering(if self.width == 0 { 0 } else { rows }, 1, ROWS_THREADS)
    }

    fn params(&self) -> PrependParams {
        PrependParams {
            prompt: 0,
            x: 0,
            y: 0,
            cu_seqlens: self.starts.buffer().address(),
            num_sequences: self.starts.num_sequences() as u64,
            prompt_rows: self.prompt_rows as u64,
            width: self.width as u64,
            add: 0,
        }
    }
}

/// Writes `y`, `[num_tokens + num_sequences * prompt_rows, width]`, of the dtype of `x`, `[num_tokens, width]`: f32 or bf16.
/// `prompt`, `[prompt_rows, width]`, is of that type or f32.
///
/// # Errors
/// [`TransformerError::Length`]; [`TransformerError::KernelDType`] for other types; [`TransformerError::Device`] for buffers of
/// different devices and for what a launch refuses.
pub fn forward(
    shape: Shape<'_>,
    prompt: Typed<&DeviceBuffer>,
    x: Typed<&DeviceBuffer>,
    y: &mut DeviceBuffer,
) -> Result<()> {
    let kernel = match (prompt.0, x.0) {
        (DType::F32, DType::F32) => &PREPEND_FORWARD_F32,
        (DType::BF16, DType::BF16) => &PREPEND_FORWARD_BF16,
        (DType::F32, DType::BF16) => &PREPEND_FORWARD_F32_TO_BF16,
        (got, _) => return Err(TransformerError::KernelDType { op: OP, got }),
    };
    check_len(OP, "prompt", &[shape.prompt_rows, shape.width], prompt.0, prompt.1)?;
    check_len(OP, "x", &[shape.starts.num_tokens(), shape.width], x.0, x.1)?;
    check_len(OP, "y", &[shape.num_rows(), shape.width], x.0, y)?;
    let executor = Executor::of(x.1, [prompt.1, &*y, shape.starts.buffer()])?;
    let params = PrependParams { prompt: prompt.1.address(), x: x.1.address(), y: y.address(), ..shape.params() };
    let grid = shape.grid(shape.num_rows()).doing(Work::over([prompt.1, x.1, &*y]));
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, whose starts rise; `y` is
    // borrowed mutably, and each block writes one row of it.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}

/// The gradient of `prompt`, f32 or of the type of `dy`, given that of `y`.
///
/// # Errors
/// As [`forward`].
pub fn backward_prompt(shape: Shape<'_>, dy: Typed<&DeviceBuffer>, dprompt: Typed<Gradient<'_>>) -> Result<()> {
    let kernel = match (dy.0, dprompt.0) {
        (DType::F32, DType::F32) => &PREPEND_BACKWARD_PROMPT_F32,
        (DType::BF16, DType::BF16) => &PREPEND_BACKWARD_PROMPT_BF16,
        (DType::BF16, DType::F32) => &PREPEND_BACKWARD_PROMPT_BF16_TO_F32,
        (_, got) => return Err(TransformerError::KernelDType { op: OP, got }),
    };
    let len = [shape.prompt_rows, shape.width];
    check_len(OP, "dprompt", &len, dprompt.0, dprompt.1.values)?;
    let rows = shape.grid(shape.prompt_rows);
    // What every sequence has before it, and the sum of it.
    let read = shape.starts.num_sequences() * shape.prompt_rows * shape.width * dy.0.size_bytes();
    let work = Work::bytes(read) + Work::over([&*dprompt.1.values]);
    let grid = Grid { blocks: [rows.blocks[0], columns_of_blocks(shape.width), 1], ..rows }.doing(work);
    let params = PrependParams { prompt: dprompt.1.values.address(), ..shape.params() };
    launch_backward(kernel, grid, shape, dy, dprompt.1, params)
}

/// The gradient of `x`, of the type of `dy`, f32 or bf16, given that of `y`.
///
/// # Errors
/// As [`forward`].
pub fn backward_x(shape: Shape<'_>, dy: Typed<&DeviceBuffer>, dx: Gradient<'_>) -> Result<()> {
    let kernel = of_dtype(OP, dy.0, &PREPEND_BACKWARD_X_F32, &PREPEND_BACKWARD_X_BF16)?;
    let rows = shape.starts.num_tokens();
    check_len(OP, "dx", &[rows, shape.width], dy.0, dx.values)?;
    let params = PrependParams { x: dx.values.address(), ..shape.params() };
    let grid = shape.grid(rows).doing(Work::over([&*dx.values; 2]));
    launch_backward(kernel, grid, shape, dy, dx, params)
}

/// Launches what writes `gradient`, whose length was checked and whose address `params` holds.
fn launch_backward(
    kernel: &'static Kernel<PrependParams>,
    grid: Grid,
    shape: Shape<'_>,
    dy: Typed<&DeviceBuffer>,
    gradient: Gradient<'_>,
    params: PrependParams,
) -> Result<()> {
    check_len(OP, "dy", &[shape.num_rows(), shape.width], dy.0, dy.1)?;
    let executor = Executor::of(dy.1, [&*gradient.values, shape.starts.buffer()])?;
    let params = PrependParams { y: dy.1.address(), add: u64::from(gradient.add), ..params };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, whose starts rise; the gradient
    // is borrowed mutably, and each thread writes its own elements of it.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
