//! Sums over the rows of a matrix.

use device::{Buffer, DType, Device};

use crate::{GemmError, Matrix, MatrixMut, Update, gemm};

/// `out[j] = alpha sum_i A[i, j]`, or that added to what [`Update`] says: the gradient of a bias.
///
/// It is the product with a row of ones, which reads `A` once.
///
/// # Errors
/// Those of [`gemm`].
pub fn column_sums(alpha: f32, a: Matrix<'_>, update: Update<'_>, out: &mut [f32]) -> Result<(), GemmError> {
    let mut ones = Buffer::scratch(Device::Cpu, DType::F32, a.rows())?;
    ones.f32_mut()?.fill(1.0);
    gemm(alpha, Matrix::new(ones.f32()?, 1, a.rows()), a, update, MatrixMut::new(out, 1, a.cols()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = [10.0; 3];
        column_sums(2.0, Matrix::new(&a[..], 2, 3), Update::Accumulate, &mut out).unwrap();
        assert_eq!(out, [20.0, 24.0, 28.0]);
        column_sums(1.0, Matrix::new(&a[..], 3, 2).transposed(), Update::Overwrite, &mut out).unwrap();
        assert_eq!(out, [3.0, 7.0, 11.0]);
        assert!(column_sums(1.0, Matrix::new(&a[..], 2, 3), Update::Overwrite, &mut out[..2]).is_err());
    }
}
