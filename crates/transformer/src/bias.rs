//! A bias on every row, and its gradient.
//!
//! ```text
//! y  = x + b
//! dx = dy,   db = sum over rows of dy
//! ```

use device::simd::{Isa, Kernel, dispatch};
use device::{Elements, parallel};

use crate::blocks::{rows_per_block, sum_columns};
use crate::error::check_len;
use crate::widen::Widened;
use crate::{Gradient, Result};

/// Sizes of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows.
    pub rows: usize,
    /// Columns, and elements of the bias.
    pub columns: usize,
}

/// Adds `bias` (`[columns]`) to every row of `y` (`[rows, columns]`).
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn add(shape: Shape, y: &mut [f32], bias: Elements<'_>) -> Result<()> {
    check_len("bias", "y", &[shape.rows, shape.columns], y.len())?;
    check_len("bias", "bias", &[shape.columns], bias.len())?;
    let bias = Widened::new(bias, 0.0)?;
    let bias = bias.as_slice()?;
    parallel::rows_mut(y, shape.columns, rows_per_block(shape.columns), |_, y| dispatch(AddRows { y, bias }));
    Ok(())
}

struct AddRows<'a> {
    y: &'a mut [f32],
    bias: &'a [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for y in self.y.chunks_exact_mut(self.bias.len()) {
            y.iter_mut().zip(self.bias).for_each(|(y, b)| *y += b);
        }
    }
}

/// Sums the rows of `dy` (`[rows, columns]`) into `dbias` (`[columns]`).
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`; [`crate::TransformerError::Device`]
/// without memory.
pub fn column_sums(shape: Shape, dy: &[f32], dbias: Gradient<'_>) -> Result<()> {
    check_len("column_sums", "dy", &[shape.rows, shape.columns], dy.len())?;
    check_len("column_sums", "dbias", &[shape.columns], dbias.values.len())?;
    sum_columns(shape.rows, shape.columns, dbias, |rows, sums| {
        dispatch(SumRows { dy: &dy[rows.start * shape.columns..rows.end * shape.columns], sums });
    })
}

struct SumRows<'a> {
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for dy in self.dy.chunks_exact(self.sums.len()) {
            self.sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransformerError;
    use half::bf16;

    #[test]
    fn a_bias_in_any_dtype_is_added_to_every_row() {
        let shape = Shape { rows: 2, columns: 3 };
        let mut y = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let bias = [0.5, -1.0, 2.0].map(bf16::from_f32);
        add(shape, &mut y, Elements::BF16(&bias)).unwrap();
        assert_eq!(y, [1.5, 1.0, 5.0, 4.5, 4.0, 8.0]);
        let wrong = add(shape, &mut y, Elements::BF16(&bias[..2]));
        assert!(matches!(wrong, Err(TransformerError::Length { argument: "bias", expected: 3, got: 2, .. })));
    }

    #[test]
    fn column_sums_are_written_or_added() {
        // More rows than one block, of small integers: exact in any order.
        let shape = Shape { rows: 1000, columns: 3 };
        let dy: Vec<f32> = (0..3000).map(|i| (i % 3) as f32 + 1.0).collect();
        let mut sums = [f32::NAN; 3];
        column_sums(shape, &dy, Gradient::overwrite(&mut sums)).unwrap();
        assert_eq!(sums, [1000.0, 2000.0, 3000.0]);
        column_sums(shape, &dy, Gradient::accumulate(&mut sums)).unwrap();
        assert_eq!(sums, [2000.0, 4000.0, 6000.0]);
    }
}
