//! `y[t, c] = x[t, c] ia3_l[c]`.

use device::parallel;

use crate::{Ia3Error, Ia3Shape, ROWS};

/// Operands of [`forward()`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// Activations `[num_tokens, features]`.
    pub x: &'a [f32],
    /// Factors `[features]`.
    pub ia3_l: &'a [f32],
    /// Result `[num_tokens, features]`. Overwritten.
    pub y: &'a mut [f32],
}

/// Scales the channels.
///
/// # Errors
/// [`Ia3Error::Length`].
pub fn forward(shape: Ia3Shape, args: Forward<'_>) -> Result<(), Ia3Error> {
    let Forward { x, ia3_l, y } = args;
    shape.check_tokens("x", x.len())?;
    shape.check_channels("ia3_l", ia3_l.len())?;
    shape.check_tokens("y", y.len())?;
    scale(shape, x, ia3_l, y);
    Ok(())
}

/// The same product for activations and for gradients.
pub(crate) fn scale(shape: Ia3Shape, x: &[f32], ia3_l: &[f32], y: &mut [f32]) {
    parallel::rows_mut(y, shape.features, ROWS, |first, y| {
        let x = &x[first * shape.features..];
        for (y, x) in y.chunks_exact_mut(shape.features).zip(x.chunks_exact(shape.features)) {
            scale_row(x, ia3_l, y);
        }
    });
}

#[inline]
pub(crate) fn scale_row(x: &[f32], ia3_l: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).zip(ia3_l).for_each(|((y, x), l)| *y = x * l);
}
