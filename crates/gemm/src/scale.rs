//! Factors of the columns of a finished product.

use crate::matrix::Stored;
use crate::problem::{Addend, Output};
use crate::{GemmError, Matrix, MatrixMut, Update, sum_scaled};

/// What multiplies the columns of a result while it is in the cache: a scaling that costs no pass over it.
#[derive(Debug)]
pub struct ColumnScale<'a> {
    /// `[n]`
    pub factors: &'a [f32],
    /// `[m, n]`, overwritten by the result without them: what the gradient of the factors is made of.
    pub unscaled: Option<&'a mut [f32]>,
}

/// `C = (A B + bias) diag(scale)`, in f32.
///
/// # Errors
/// Those of [`gemm`](crate::gemm()); [`GemmError::Length`] also for a scale that does not fit `C`.
pub fn gemm_scaled(
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    scale: ColumnScale<'_>,
    c: &mut [f32],
) -> Result<(), GemmError> {
    let (m, n) = (a.rows(), b.cols());
    let ColumnScale { factors, mut unscaled } = scale;
    Stored::dense(1, n).check("scale", factors.len())?;
    let start = match &mut unscaled {
        Some(unscaled) => {
            Stored::dense(m, n).check("unscaled", unscaled.len())?;
            unscaled.as_mut_ptr()
        }
        None => std::ptr::null_mut(),
    };
    let scale = Scale {
        factors: Addend { start: factors.as_ptr(), row_stride: 0, col_stride: 1 },
        unscaled: Output { start: start.cast(), dtype: device::DType::F32, row_stride: n, col_stride: 1 },
    };
    let update = bias.map_or(Update::Overwrite, Update::Bias);
    sum_scaled(1.0, &[(a, b)], update, Some(scale), MatrixMut::new(c, m, n))
}

/// A checked scale. Threads that share it touch the elements of their own part of `C`.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    factors: Addend,
    /// Null if it is not wanted.
    unscaled: Output,
}

impl Scale {
    /// The same for the transposed product.
    pub(crate) fn transposed(self) -> Self {
        Self { factors: self.factors.transposed(), unscaled: self.unscaled.transposed() }
    }

    /// Finishes `[rows, cols]` elements of `C`, which is f32, from `row` and `col` on.
    ///
    /// # Safety
    /// They are within `C` and complete, and nothing else accesses them.
    pub(crate) unsafe fn apply(self, c: Output, [row, col]: [usize; 2], [rows, cols]: [usize; 2]) {
        // Whichever way round the product is computed, rows of `C` as it is stored are finished; a single column has both strides.
        let (part, size) = if self.factors.col_stride == 1 {
            (Part { scale: self, c }.at(row, col), [rows, cols])
        } else {
            (Part { scale: self.transposed(), c: c.transposed() }.at(col, row), [cols, rows])
        };
        // SAFETY: the caller's.
        unsafe { part.finish(size) }
    }
}

/// Elements of `C`, whose rows lie side by side, with their factors and their copy.
struct Part {
    scale: Scale,
    c: Output,
}

impl Part {
    /// The part from `row` and `col` on.
    fn at(self, row: usize, col: usize) -> Self {
        let Scale { factors, unscaled } = self.scale;
        let unscaled = if unscaled.start.is_null() { unscaled } else { unscaled.at(row, col) };
        Self { scale: Scale { factors: factors.at(row, col), unscaled }, c: self.c.at(row, col) }
    }

    /// # Safety
    /// The elements are within `C` and nothing else accesses them; the factors and the copy fit `C`.
    unsafe fn finish(&self, [rows, cols]: [usize; 2]) {
        let Scale { factors, unscaled } = self.scale;
        for row in 0..rows {
            // SAFETY: the caller's; neither the factors nor the copy is `C`, which is borrowed exclusively.
            unsafe {
                let c = std::slice::from_raw_parts_mut(self.c.at(row, 0).start.cast::<f32>(), cols);
                if !unscaled.start.is_null() {
                    let copy = unscaled.at(row, 0).start.cast::<f32>();
                    std::slice::from_raw_parts_mut(copy, cols).copy_from_slice(c);
                }
                let factors = std::slice::from_raw_parts(factors.at(row, 0).start, cols);
                c.iter_mut().zip(factors).for_each(|(c, factor)| *c *= factor);
            }
        }
    }
}
