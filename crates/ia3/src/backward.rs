//! `dx[t, c] = dy[t, c] ia3_l[c]`, `dia3_l[c] = sum_t dy[t, c] x[t, c]`.

use device::{Buffer, DType, Device};
use rayon::prelude::*;

use crate::forward::{scale, scale_row};
use crate::{Ia3Error, Ia3Shape, ROWS};

/// Operands of [`backward()`]. A gradient that is `None` is not computed.
#[derive(Debug)]
pub struct Backward<'a> {
    /// As in the forward.
    pub x: &'a [f32],
    /// As in the forward.
    pub ia3_l: &'a [f32],
    /// Gradient of `y`, `[num_tokens, features]`.
    pub grad_y: &'a [f32],
    /// Gradient of `x`, `[num_tokens, features]`. Overwritten.
    pub grad_x: Option<&'a mut [f32]>,
    /// Gradient of `ia3_l`, `[features]`. Overwritten.
    pub grad_ia3_l: Option<&'a mut [f32]>,
}

/// Computes the gradients that are asked for, both in one pass over `grad_y`.
///
/// # Errors
/// [`Ia3Error::Length`]; [`Ia3Error::Device`] without memory.
pub fn backward(shape: Ia3Shape, args: Backward<'_>) -> Result<(), Ia3Error> {
    let Backward { x, ia3_l, grad_y, grad_x, grad_ia3_l } = args;
    shape.check_tokens("x", x.len())?;
    shape.check_channels("ia3_l", ia3_l.len())?;
    shape.check_tokens("grad_y", grad_y.len())?;
    if let Some(grad_x) = &grad_x {
        shape.check_tokens("grad_x", grad_x.len())?;
    }
    let Some(grad_ia3_l) = grad_ia3_l else {
        grad_x.into_iter().for_each(|grad_x| scale(shape, grad_y, ia3_l, grad_x));
        return Ok(());
    };
    shape.check_channels("grad_ia3_l", grad_ia3_l.len())?;
    grad_ia3_l.fill(0.0);
    let (features, num_blocks) = (shape.features, shape.num_tokens.div_ceil(ROWS));
    if features == 0 || num_blocks == 0 {
        return Ok(());
    }
    let mut sums = Buffer::scratch(Device::Cpu, DType::F32, num_blocks * features)?;
    let sums = sums.f32_mut()?;
    let block = ROWS * features;
    let inputs = x.par_chunks(block).zip(grad_y.par_chunks(block));
    let tasks = sums.par_chunks_exact_mut(features).zip(inputs);
    match grad_x {
        None => tasks.for_each(|(sums, (x, grad_y))| sum_columns(x, grad_y, sums)),
        Some(grad_x) => tasks.zip(grad_x.par_chunks_mut(block)).for_each(|((sums, (x, grad_y)), grad_x)| {
            sum_columns(x, grad_y, sums);
            // The block of `grad_y` is still in the cache.
            for (grad_x, grad_y) in grad_x.chunks_exact_mut(features).zip(grad_y.chunks_exact(features)) {
                scale_row(grad_y, ia3_l, grad_x);
            }
        }),
    }
    for sums in sums.chunks_exact(features) {
        grad_ia3_l.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    Ok(())
}

/// `sums[c] = sum_t grad_y[t, c] x[t, c]` over the rows of one task.
fn sum_columns(x: &[f32], grad_y: &[f32], sums: &mut [f32]) {
    let features = sums.len();
    sums.fill(0.0);
    for (x, grad_y) in x.chunks_exact(features).zip(grad_y.chunks_exact(features)) {
        sums.iter_mut().zip(x).zip(grad_y).for_each(|((sum, x), g)| *sum += g * x);
    }
}
