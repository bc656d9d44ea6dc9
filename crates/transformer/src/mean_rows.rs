//! The mean row of each sequence of a packed batch, and its gradient.
//!
//! ```text
//! y[s] = mean of x[i] over the rows i of s      dx[i] = dy[s] / len(s)
//! ```
//!
//! `x` is `[num_rows, width]` and `y` `[num_sequences, width]`. A sequence without rows has zeros. Rows are added in their
//! order, in f32.

use std::ops::Range;

use device::parallel;

use crate::error::check_len;
use crate::{Gradient, Result, TransformerError};

const OP: &str = "mean_rows";

/// Sizes, and where the sequences lie.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Elements of a row.
    pub width: usize,
    /// Starts of the sequences in `x`, then its number of rows.
    pub cu_seqlens: &'a [u32],
}

impl Shape<'_> {
    /// Rows of `x`.
    pub fn num_rows(&self) -> usize {
        self.cu_seqlens.last().map_or(0, |&n| n as usize)
    }

    /// Rows of `y`.
    pub fn num_sequences(&self) -> usize {
        self.cu_seqlens.len().saturating_sub(1)
    }

    /// From sequence `first` on, the elements of each and the share of one of its rows.
    fn sequences(&self, first: usize) -> impl Iterator<Item = (Range<usize>, f32)> {
        let width = self.width;
        self.cu_seqlens[first..].windows(2).map(move |ends| {
            let share = 1.0 / (ends[1] - ends[0]).max(1) as f32;
            (ends[0] as usize * width..ends[1] as usize * width, share)
        })
    }

    fn check(&self, x: usize, y: usize) -> Result<()> {
        let rising = self.cu_seqlens.first().is_none_or(|&first| first == 0) && self.cu_seqlens.is_sorted();
        if !rising {
            return Err(TransformerError::Starts { op: OP });
        }
        check_len(OP, "x", &[self.num_rows(), self.width], x)?;
        check_len(OP, "y", &[self.num_sequences(), self.width], y)
    }
}

/// Writes `y`.
///
/// # Errors
/// [`TransformerError::Starts`], [`TransformerError::Length`].
pub fn forward(shape: Shape<'_>, x: &[f32], y: &mut [f32]) -> Result<()> {
    shape.check(x.len(), y.len())?;
    parallel::rows_mut(y, shape.width, 1, |first, y| {
        for (mean, (rows, share)) in y.chunks_exact_mut(shape.width).zip(shape.sequences(first)) {
            mean.fill(0.0);
            for row in x[rows].chunks_exact(shape.width) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
            }
            mean.iter_mut().for_each(|mean| *mean *= share);
        }
    });
    Ok(())
}

/// The gradient of `x`, given that of `y`.
///
/// # Errors
/// As [`forward`].
pub fn backward(shape: Shape<'_>, dy: &[f32], dx: Gradient<'_>) -> Result<()> {
    let Gradient { values, add } = dx;
    shape.check(values.len(), dy.len())?;
    if !add {
        values.fill(0.0);
    }
    for (dy, (rows, share)) in dy.chunks_exact(shape.width.max(1)).zip(shape.sequences(0)) {
        for row in values[rows].chunks_exact_mut(shape.width) {
            row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += share * dy);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences of two, no and one row.
    const SHAPE: Shape<'_> = Shape { width: 2, cu_seqlens: &[0, 2, 2, 3] };

    #[test]
    fn known_values() {
        let mut y = [f32::NAN; 6];
        forward(SHAPE, &[1.0, 2.0, 3.0, 6.0, 7.0, 8.0], &mut y).unwrap();
        assert_eq!(y, [2.0, 4.0, 0.0, 0.0, 7.0, 8.0]);
        let mut dx = [f32::NAN; 6];
        backward(SHAPE, &[2.0, 4.0, 100.0, 100.0, 1.0, 3.0], Gradient::overwrite(&mut dx)).unwrap();
        assert_eq!(dx, [1.0, 2.0, 1.0, 2.0, 1.0, 3.0]);
        backward(SHAPE, &[2.0, 4.0, 100.0, 100.0, 1.0, 3.0], Gradient::accumulate(&mut dx)).unwrap();
        assert_eq!(dx, [2.0, 4.0, 2.0, 4.0, 2.0, 6.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = forward(SHAPE, &[0.0; 4], &mut [0.0; 6]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "x", expected: 6, got: 4, .. })));
        let falling = Shape { cu_seqlens: &[0, 2, 1], ..SHAPE };
        let refused = backward(falling, &[0.0; 4], Gradient::overwrite(&mut [0.0; 2]));
        assert!(matches!(refused, Err(TransformerError::Starts { op: "mean_rows" })));
    }
}
