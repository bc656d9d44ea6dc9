//! Gathering blocks of columns and the transposed map: how a fused projection is taken apart.
//!
//! ```text
//! y  = [x[:, blocks[0]], x[:, blocks[1]], ...]
//! dx[:, blocks[b]] += the columns of dy that came from it
//! ```
//!
//! GPT-2 and Phi-3 put queries, keys and values of all heads side by side: one block each. GPT-NeoX interleaves them head
//! by head: one block for every head.

use std::ops::Range;

use device::parallel;

use crate::blocks::rows_per_block;
use crate::error::check_len;
use crate::{Result, TransformerError};

const OP: &str = "columns";

/// Sizes of the matrix that is gathered from.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl Shape {
    /// The width of the result.
    fn check(&self, wide: usize, blocks: &[Range<usize>], narrow: usize) -> Result<usize> {
        for &Range { start, end } in blocks {
            if start > end || end > self.columns {
                return Err(TransformerError::Columns { start, end, columns: self.columns });
            }
        }
        let width = blocks.iter().map(Range::len).sum();
        check_len(OP, "all columns", &[self.rows, self.columns], wide)?;
        check_len(OP, "selected columns", &[self.rows, width], narrow)?;
        Ok(width)
    }
}

/// Writes the `blocks` of columns of `x` (`[rows, columns]`), side by side, to `y`.
///
/// # Errors
/// [`TransformerError::Columns`] for a block that is not there; [`TransformerError::Length`].
pub fn gather(shape: Shape, x: &[f32], blocks: &[Range<usize>], y: &mut [f32]) -> Result<()> {
    let width = shape.check(x.len(), blocks, y.len())?;
    parallel::rows_mut(y, width, rows_per_block(width), |start, y| {
        let rows = y.chunks_exact_mut(width).zip(x[start * shape.columns..].chunks_exact(shape.columns));
        for (mut y, x) in rows {
            for block in blocks {
                let (part, rest) = y.split_at_mut(block.len());
                part.copy_from_slice(&x[block.clone()]);
                y = rest;
            }
        }
    });
    Ok(())
}

/// Adds `dy` to the `blocks` of columns of `dx` (`[rows, columns]`) that it came from.
///
/// # Errors
/// As [`gather`].
pub fn scatter_add(shape: Shape, dy: &[f32], blocks: &[Range<usize>], dx: &mut [f32]) -> Result<()> {
    let width = shape.check(dx.len(), blocks, dy.len())?;
    if width == 0 {
        return Ok(());
    }
    parallel::rows_mut(dx, shape.columns, rows_per_block(shape.columns), |start, dx| {
        let rows = dx.chunks_exact_mut(shape.columns).zip(dy[start * width..].chunks_exact(width));
        for (dx, mut dy) in rows {
            for block in blocks {
                let (part, rest) = dy.split_at(block.len());
                dx[block.clone()].iter_mut().zip(part).for_each(|(dx, dy)| *dx += dy);
                dy = rest;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_and_its_transpose() {
        let shape = Shape { rows: 2, columns: 4 };
        let x = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        let blocks = [2..4, 0..1];
        let mut y = [0.0; 6];
        gather(shape, &x, &blocks, &mut y).unwrap();
        assert_eq!(y, [2.0, 3.0, 0.0, 12.0, 13.0, 10.0]);
        let mut dx = [100.0; 8];
        scatter_add(shape, &y, &blocks, &mut dx).unwrap();
        assert_eq!(dx, [100.0, 100.0, 102.0, 103.0, 110.0, 100.0, 112.0, 113.0]);
    }

    #[test]
    fn blocks_that_are_not_there_are_refused() {
        let shape = Shape { rows: 1, columns: 4 };
        for block in [3..5, Range { start: 2, end: 1 }] {
            let refused = gather(shape, &[0.0; 4], &[block], &mut [0.0; 2]);
            assert!(matches!(refused, Err(TransformerError::Columns { columns: 4, .. })));
        }
        assert!(scatter_add(shape, &[], &[], &mut [0.0; 4]).is_ok());
    }
}
