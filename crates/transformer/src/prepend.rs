//! The same rows in front of every sequence of a packed batch, and the gradients of both parts.
//!
//! ```text
//! y[s]    = [prompt; x[s]]         for every sequence s
//! dprompt = sum_s dy[s][..P]       dx[s] = dy[s][P..]
//! ```
//!
//! `prompt` is `[P, width]`, `x` the packed sequences, `[num_tokens, width]`, and `y` `[num_tokens + num_sequences P, width]`.
//! The sum over sequences is in their order.

use std::ops::Range;

use device::parallel;

use crate::error::check_len;
use crate::{Gradient, Result, TransformerError};

const OP: &str = "prepend";

/// Sizes, and where the sequences lie.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Rows in front of every sequence.
    pub prompt_rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Starts of the sequences in `x`, then its number of rows.
    pub cu_seqlens: &'a [u32],
}

impl Shape<'_> {
    /// Rows of `x`.
    pub fn num_tokens(&self) -> usize {
        self.cu_seqlens.last().map_or(0, |&n| n as usize)
    }

    /// Rows of `y`.
    pub fn num_rows(&self) -> usize {
        self.num_tokens() + self.cu_seqlens.len().saturating_sub(1) * self.prompt_rows
    }

    /// The elements of each sequence in `x`, and those of its rows, the prompt first, in `y`.
    fn sequences(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let Self { prompt_rows, width, cu_seqlens } = *self;
        cu_seqlens.windows(2).enumerate().map(move |(index, ends)| {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            let before = start + index * prompt_rows;
            (start * width..end * width, before * width..(before + prompt_rows + end - start) * width)
        })
    }

    fn check(&self, prompt: Option<usize>, x: Option<usize>, y: usize) -> Result<()> {
        let rising = self.cu_seqlens.first().is_none_or(|&first| first == 0) && self.cu_seqlens.is_sorted();
        if !rising {
            return Err(TransformerError::Starts { op: OP });
        }
        prompt.map_or(Ok(()), |len| check_len(OP, "prompt", &[self.prompt_rows, self.width], len))?;
        x.map_or(Ok(()), |len| check_len(OP, "x", &[self.num_tokens(), self.width], len))?;
        check_len(OP, "y", &[self.num_rows(), self.width], y)
    }
}

/// Writes `y`.
///
/// # Errors
/// [`TransformerError::Starts`], [`TransformerError::Length`].
pub fn forward(shape: Shape<'_>, prompt: &[f32], x: &[f32], y: &mut [f32]) -> Result<()> {
    shape.check(Some(prompt.len()), Some(x.len()), y.len())?;
    for (tokens, rows) in shape.sequences() {
        let (front, rest) = y[rows].split_at_mut(prompt.len());
        front.copy_from_slice(prompt);
        rest.copy_from_slice(&x[tokens]);
    }
    Ok(())
}

/// The gradient of `prompt`, given that of `y`.
///
/// # Errors
/// As [`forward`].
pub fn backward_prompt(shape: Shape<'_>, dy: &[f32], dprompt: Gradient<'_>) -> Result<()> {
    shape.check(Some(dprompt.values.len()), None, dy.len())?;
    let Gradient { values, add } = dprompt;
    if !add {
        values.fill(0.0);
    }
    parallel::rows_mut(values, 1, crate::blocks::ELEMENTS, |start, values| {
        for (_, rows) in shape.sequences() {
            let dy = &dy[rows.start + start..];
            values.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
        }
    });
    Ok(())
}

/// The gradient of `x`, given that of `y`.
///
/// # Errors
/// As [`forward`].
pub fn backward_x(shape: Shape<'_>, dy: &[f32], dx: Gradient<'_>) -> Result<()> {
    shape.check(None, Some(dx.values.len()), dy.len())?;
    let Gradient { values, add } = dx;
    for (tokens, rows) in shape.sequences() {
        let (dx, dy) = (&mut values[tokens], &dy[rows][shape.prompt_rows * shape.width..]);
        if add {
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
        } else {
            dx.copy_from_slice(dy);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences of one, no and two tokens after two rows.
    const SHAPE: Shape<'_> = Shape { prompt_rows: 2, width: 2, cu_seqlens: &[0, 1, 1, 3] };
    const PROMPT: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

    #[test]
    fn rows_stand_before_every_sequence() {
        let mut y = [f32::NAN; 18];
        forward(SHAPE, &PROMPT, &[10.0, 11.0, 20.0, 21.0, 30.0, 31.0], &mut y).unwrap();
        let expected =
            [[1.0, 2.0, 3.0, 4.0, 10.0, 11.0], [1.0, 2.0, 3.0, 4.0, 1.0, 2.0], [3.0, 4.0, 20.0, 21.0, 30.0, 31.0]];
        assert_eq!(y, *expected.as_flattened());
    }

    #[test]
    fn gradients_go_where_the_rows_came_from() {
        let dy: Vec<f32> = (0u8..18).map(f32::from).collect();
        let mut dprompt = [100.0; 4];
        backward_prompt(SHAPE, &dy, Gradient::accumulate(&mut dprompt)).unwrap();
        assert_eq!(dprompt, [116.0, 119.0, 122.0, 125.0]);
        let mut dx = [f32::NAN; 6];
        backward_x(SHAPE, &dy, Gradient::overwrite(&mut dx)).unwrap();
        assert_eq!(dx, [4.0, 5.0, 14.0, 15.0, 16.0, 17.0]);
        backward_x(SHAPE, &dy, Gradient::accumulate(&mut dx)).unwrap();
        assert_eq!(dx, [8.0, 10.0, 28.0, 30.0, 32.0, 34.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = forward(SHAPE, &PROMPT[..3], &[0.0; 6], &mut [0.0; 18]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "prompt", expected: 4, got: 3, .. })));
        let refused = backward_x(SHAPE, &[0.0; 17], Gradient::overwrite(&mut [0.0; 6]));
        assert!(matches!(refused, Err(TransformerError::Length { argument: "y", .. })));
        for cu_seqlens in [&[1, 3][..], &[0, 2, 1]] {
            let shape = Shape { cu_seqlens, ..SHAPE };
            let refused = backward_prompt(shape, &[], Gradient::overwrite(&mut [0.0; 4]));
            assert!(matches!(refused, Err(TransformerError::Starts { op: "prepend" })));
        }
    }
}
