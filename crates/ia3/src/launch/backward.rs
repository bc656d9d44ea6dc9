//! Launching the backward.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{IA3_BACKWARD_BF16, IA3_BACKWARD_F32, IA3_SCALE_BF16, IA3_SCALE_F32, IA3_SUM_F32};
use super::of_dtype;
use super::params::{IA3_SCALE_TOKENS, IA3_SUM_TOKENS, IA3_THREADS, Ia3BackwardParams, Ia3ScaleParams, Ia3SumParams};
use crate::{Ia3Error, Ia3Shape, ROWS};

// The order of the sum is part of the result.
const _: () = assert!(IA3_SUM_TOKENS as usize == ROWS);

/// Operands of [`backward`], all on one device. A gradient that is `None` is not computed.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Of `x`, `grad_y` and `grad_x`: f32 or bf16.
    pub dtype: DType,
    /// As in the forward.
    pub x: &'a DeviceBuffer,
    /// As in the forward.
    pub ia3_l: &'a DeviceBuffer,
    /// Gradient of `y`, `[num_tokens, features]`.
    pub grad_y: &'a DeviceBuffer,
    /// Gradient of `x`, `[num_tokens, features]`. Overwritten.
    pub grad_x: Option<&'a mut DeviceBuffer>,
    /// Gradient of `ia3_l`, `[features]`, f32. Overwritten.
    pub grad_ia3_l: Option<&'a mut DeviceBuffer>,
}

/// Computes the gradients that are asked for, both in one pass over `grad_y`.
///
/// # Errors
/// [`Ia3Error::Length`], [`Ia3Error::DType`]; [`Ia3Error::Device`] for buffers of different devices, without memory, and for
/// what a launch refuses.
pub fn backward(shape: Ia3Shape, args: Backward<'_>) -> Result<(), Ia3Error> {
    let Backward { dtype, x, ia3_l, grad_y, grad_x, grad_ia3_l } = args;
    let scale = of_dtype(dtype, &IA3_SCALE_F32, &IA3_SCALE_BF16)?;
    let sum_products = of_dtype(dtype, &IA3_BACKWARD_F32, &IA3_BACKWARD_BF16)?;
    shape.check_token_buffer("x", x, dtype)?;
    shape.check_channel_buffer("ia3_l", ia3_l)?;
    shape.check_token_buffer("grad_y", grad_y, dtype)?;
    if let Some(grad_x) = &grad_x {
        shape.check_token_buffer("grad_x", grad_x, dtype)?;
    }
    if let Some(grad_ia3_l) = &grad_ia3_l {
        shape.check_channel_buffer("grad_ia3_l", grad_ia3_l)?;
    }
    let written = grad_x.as_deref().into_iter().chain(grad_ia3_l.as_deref());
    let executor = Executor::of(x, [ia3_l, grad_y].into_iter().chain(written))?;
    let (num_tokens, features) = (shape.num_tokens as u64, shape.features as u64);

    let Some(grad_ia3_l) = grad_ia3_l else {
        let Some(grad_x) = grad_x else { return Ok(()) };
        let (x, ia3_l, y) = (grad_y.address(), ia3_l.address(), grad_x.address());
        let params = Ia3ScaleParams { x, ia3_l, y, num_tokens, features };
        let grid = shape.grid(IA3_SCALE_TOKENS).doing(Work::over([grad_y, &*grad_x]));
        // SAFETY: the buffers were checked to be of this executor and to hold what the shape says; `grad_x` is borrowed
        // mutably.
        return Ok(unsafe { executor.launch(scale, grid, &params) }?);
    };
    let count = shape.num_tokens.div_ceil(ROWS);
    let partials = executor.allocate(count * shape.features * size_of::<f32>())?;
    let read_and_written = [x, grad_y, &partials].into_iter().chain(grad_x.as_deref());
    let grid = shape.grid(IA3_SUM_TOKENS).doing(Work::over(read_and_written));
    let products = Ia3BackwardParams {
        x: x.address(),
        ia3_l: ia3_l.address(),
        grad_y: grad_y.address(),
        grad_x: grad_x.map_or(0, |grad_x| grad_x.address()),
        partials: partials.address(),
        num_tokens,
        features,
    };
    let sum =
        Ia3SumParams { partials: partials.address(), grad_ia3_l: grad_ia3_l.address(), count: count as u64, features };
    let sum_grid =
        Grid::covering(shape.features, IA3_THREADS, IA3_THREADS).doing(Work::over([&partials, &*grad_ia3_l]));
    // SAFETY: as above; `partials` was just made for these sizes, and both gradients are borrowed mutably.
    unsafe {
        executor.launch(sum_products, grid, &products)?;
        executor.launch(&IA3_SUM_F32, sum_grid, &sum)?;
    }
    Ok(())
}
