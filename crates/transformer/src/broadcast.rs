//! One row added to every row: a bias, or what a product is then added to.
//!
//! ```text
//! y[r] = x[r] + factor * row
//! ```

use device::parallel;

use crate::Result;
use crate::blocks::rows_per_block;
use crate::error::check_len;

const OP: &str = "broadcast";

/// Sizes of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of the matrix.
    pub rows: usize,
    /// Elements of a row.
    pub columns: usize,
}

/// Writes `y`, `[rows, columns]`, for `row`, `[columns]`; without `x` as if it were zeros.
///
/// # Errors
/// [`crate::TransformerError::Length`].
pub fn broadcast(shape: Shape, x: Option<&[f32]>, factor: f32, row: &[f32], y: &mut [f32]) -> Result<()> {
    x.map_or(Ok(()), |x| check_len(OP, "x", &[shape.rows, shape.columns], x.len()))?;
    check(shape, row, y)?;
    parallel::rows_mut(y, shape.columns, rows_per_block(shape.columns), |first, y| {
        match x {
            Some(x) => y.copy_from_slice(&x[first * shape.columns..][..y.len()]),
            None => y.fill(0.0),
        }
        add_rows(factor, row, y);
    });
    Ok(())
}

/// Adds `factor * row` to every row of `y`.
///
/// # Errors
/// As [`broadcast`].
pub fn in_place(shape: Shape, factor: f32, row: &[f32], y: &mut [f32]) -> Result<()> {
    check(shape, row, y)?;
    parallel::rows_mut(y, shape.columns, rows_per_block(shape.columns), |_, y| add_rows(factor, row, y));
    Ok(())
}

fn check(shape: Shape, row: &[f32], y: &[f32]) -> Result<()> {
    check_len(OP, "row", &[shape.columns], row.len())?;
    check_len(OP, "y", &[shape.rows, shape.columns], y.len())
}

fn add_rows(factor: f32, row: &[f32], y: &mut [f32]) {
    y.chunks_exact_mut(row.len()).for_each(|y| y.iter_mut().zip(row).for_each(|(y, term)| *y += factor * term));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransformerError;

    const SHAPE: Shape = Shape { rows: 2, columns: 2 };

    #[test]
    fn known_values() {
        let mut y = [f32::NAN; 4];
        broadcast(SHAPE, None, 2.0, &[1.0, -3.0], &mut y).unwrap();
        assert_eq!(y, [2.0, -6.0, 2.0, -6.0]);
        broadcast(SHAPE, Some(&[1.0, 2.0, 3.0, 4.0]), 2.0, &[1.0, -3.0], &mut y).unwrap();
        assert_eq!(y, [3.0, -4.0, 5.0, -2.0]);
        in_place(SHAPE, -1.0, &[1.0, 1.0], &mut y).unwrap();
        assert_eq!(y, [2.0, -5.0, 4.0, -3.0]);
        in_place(Shape { rows: 3, columns: 0 }, 1.0, &[], &mut []).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = broadcast(SHAPE, Some(&[0.0; 3]), 1.0, &[0.0; 2], &mut [0.0; 4]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "x", expected: 4, got: 3, .. })));
        let refused = in_place(SHAPE, 1.0, &[0.0; 3], &mut [0.0; 4]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "row", expected: 2, got: 3, .. })));
    }
}
