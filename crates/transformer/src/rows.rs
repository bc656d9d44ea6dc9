//! Gathering rows of a table and the transposed map, adding rows into it.
//!
//! ```text
//! y[i]            = factor * x[rows[i]]
//! dx[rows[i]]    += factor * dy[i]
//! ```

use device::simd::{Isa, Kernel, dispatch};
use device::{Element, Elements, parallel};

use crate::blocks::rows_per_block;
use crate::error::check_len;
use crate::{Result, TransformerError};

const OP: &str = "select_rows";

/// Sizes of the table that is gathered from.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of the table.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Writes the `selected` rows of `x` (`[rows, width]`) to `y` (`[selected, width]`).
///
/// # Errors
/// [`TransformerError::Row`] for a row that is not there; [`TransformerError::Length`].
pub fn gather(shape: Shape, x: &[f32], selected: &[u32], y: &mut [f32]) -> Result<()> {
    check_len(OP, "x", &[shape.rows, shape.width], x.len())?;
    check_len(OP, "y", &[selected.len(), shape.width], y.len())?;
    check_rows(shape, selected)?;
    gather_scaled(shape.width, Elements::F32(x), selected, 1.0, y);
    Ok(())
}

/// Adds the rows of `dy` (`[selected, width]`) to the `selected` rows of `dx` (`[rows, width]`), in order.
///
/// # Errors
/// As [`gather`].
pub fn scatter_add(shape: Shape, dy: &[f32], selected: &[u32], dx: &mut [f32]) -> Result<()> {
    check_len(OP, "dx", &[shape.rows, shape.width], dx.len())?;
    check_len(OP, "dy", &[selected.len(), shape.width], dy.len())?;
    check_rows(shape, selected)?;
    scatter_add_scaled(shape, dy, selected, 1.0, dx);
    Ok(())
}

fn check_rows(shape: Shape, selected: &[u32]) -> Result<()> {
    match selected.iter().position(|&row| row as usize >= shape.rows) {
        Some(index) => Err(TransformerError::Row { op: OP, index, row: selected[index], rows: shape.rows }),
        None => Ok(()),
    }
}

/// [`gather`] from a table of any dtype, times `factor`. Lengths and rows have been checked.
pub(crate) fn gather_scaled(width: usize, table: Elements<'_>, selected: &[u32], factor: f32, y: &mut [f32]) {
    parallel::rows_mut(y, width, rows_per_block(width), |start, y| {
        let selected = &selected[start..];
        match table {
            Elements::F32(table) => dispatch(Gather { table, width, selected, factor, y }),
            Elements::BF16(table) => dispatch(Gather { table, width, selected, factor, y }),
            Elements::F16(table) => dispatch(Gather { table, width, selected, factor, y }),
        }
    });
}

struct Gather<'a, T> {
    table: &'a [T],
    width: usize,
    selected: &'a [u32],
    factor: f32,
    y: &'a mut [f32],
}

impl<T: Element> Kernel for Gather<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (y, &row) in self.y.chunks_exact_mut(self.width).zip(self.selected) {
            let start = row as usize * self.width;
            for (y, x) in y.iter_mut().zip(&self.table[start..start + self.width]) {
                *y = x.to_f32() * self.factor;
            }
        }
    }
}

/// [`scatter_add`], times `factor`. Lengths and rows have been checked.
pub(crate) fn scatter_add_scaled(shape: Shape, dy: &[f32], selected: &[u32], factor: f32, dx: &mut [f32]) {
    /// The table is cut into this many parts. Each task looks through all of `selected` for rows of its part, so that a
    /// row's terms are added in their order by one task.
    const PARTS: usize = 64;
    let Shape { rows, width } = shape;
    parallel::rows_mut(dx, width, rows.div_ceil(PARTS), |first, dx| {
        dispatch(ScatterAdd { dy, width, selected, factor, first, dx });
    });
}

struct ScatterAdd<'a> {
    dy: &'a [f32],
    width: usize,
    selected: &'a [u32],
    factor: f32,
    first: usize,
    dx: &'a mut [f32],
}

impl Kernel for ScatterAdd<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let part = self.first..self.first + self.dx.len() / self.width;
        for (dy, &row) in self.dy.chunks_exact(self.width).zip(self.selected) {
            if part.contains(&(row as usize)) {
                let start = (row as usize - self.first) * self.width;
                for (dx, &dy) in self.dx[start..start + self.width].iter_mut().zip(dy) {
                    *dx = I::mul_add(self.factor, dy, *dx);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_and_its_transpose() {
        let shape = Shape { rows: 3, width: 2 };
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = [0.0; 6];
        gather(shape, &x, &[2, 0, 2], &mut y).unwrap();
        assert_eq!(y, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        let mut dx = [1.0; 6];
        scatter_add(shape, &y, &[2, 0, 2], &mut dx).unwrap();
        assert_eq!(dx, [2.0, 3.0, 1.0, 1.0, 11.0, 13.0]);
    }

    #[test]
    fn rows_that_are_not_there_are_refused() {
        let shape = Shape { rows: 3, width: 2 };
        let refused = gather(shape, &[0.0; 6], &[0, 3], &mut [0.0; 4]);
        assert!(matches!(refused, Err(TransformerError::Row { index: 1, row: 3, rows: 3, .. })));
        let refused = scatter_add(shape, &[0.0; 4], &[0, 3], &mut [0.0; 6]);
        assert!(matches!(refused, Err(TransformerError::Row { index: 1, row: 3, rows: 3, .. })));
        assert!(matches!(gather(shape, &[0.0; 6], &[0], &mut [0.0; 3]), Err(TransformerError::Length { .. })));
    }
}
