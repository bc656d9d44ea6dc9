//! `y = |P P^T - I|_F`: how far the rows of a matrix are from orthonormal.
//!
//! `dP = 2 dy (P P^T - I) P / y`, and zero where y is zero. On the CPU alone.

use device::{Buffer, DType, Device};
use gemm::{Matrix, MatrixMut, Update, gemm};

use super::linear::update;
use crate::{Layout, Result, Tensor, TensorError, Weight};

/// The distance from orthonormal of the rows of P, as a scalar. `matrix` is P where `layout` is [`Layout::OutIn`], and its
/// transpose where it is [`Layout::InOut`]. The squares are added in f64.
///
/// # Errors
/// [`TensorError::Shape`] unless it is a matrix; [`TensorError::NoKernel`] on a device; [`TensorError::Kernel`].
pub fn orthogonality(matrix: &Tensor, layout: Layout) -> Result<Tensor> {
    const OP: &str = "orthogonality";
    if matrix.device() != Device::Cpu {
        return Err(TensorError::NoKernel { op: OP, device: matrix.device() });
    }
    let weight = Weight::dense(matrix.clone(), layout)?;
    let (rows, columns) = (weight.out_features(), weight.in_features());
    let mut distance = Buffer::scratch(matrix.device(), DType::F32, rows * rows)?;
    {
        let distance = MatrixMut::new(distance.f32_mut()?, rows, rows);
        weight
            .with_matrix(|p| gemm(1.0, p, p.transposed(), Update::Overwrite, distance))
            .map_err(TensorError::kernel(OP))?;
    }
    distance.f32_mut()?.iter_mut().step_by(rows + 1).for_each(|diagonal| *diagonal -= 1.0);
    let square: f64 = distance.f32()?.iter().map(|&difference| f64::from(difference).powi(2)).sum();
    let norm = square.sqrt() as f32;
    Tensor::record(OP, [1], Buffer::from_f32(matrix.device(), &[norm])?, &[matrix], move |grad_y, sink| {
        let factor = if norm > 0.0 { 2.0 * grad_y.f32()?[0] / norm } else { 0.0 };
        let distance = Matrix::new(distance.f32()?, rows, rows);
        sink.accumulate(0, |grad, add| {
            let product = weight.with_matrix(|p| match layout {
                Layout::OutIn => gemm(factor, distance, p, update(add), MatrixMut::new(grad, rows, columns)),
                Layout::InOut => {
                    gemm(factor, p.transposed(), distance, update(add), MatrixMut::new(grad, columns, rows))
                }
            });
            product.map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn literals() {
        let distance = |shape, values: &[f32], layout| {
            orthogonality(&Tensor::from_f32(shape, values).unwrap(), layout).unwrap().item().unwrap()
        };
        // Rows (1, 1) and (0, 2): their products are 2, 2, 4, one of each less on the diagonal.
        let expected = (1.0f32 + 4.0 + 4.0 + 9.0).sqrt();
        assert_eq!(distance([2, 2], &[1.0, 1.0, 0.0, 2.0], Layout::OutIn), expected);
        assert_eq!(distance([2, 2], &[1.0, 0.0, 1.0, 2.0], Layout::InOut), expected);
        assert_eq!(distance([1, 3], &[0.0, 1.0, 0.0], Layout::OutIn), 0.0);
    }

    #[test]
    fn gradients() {
        for (shape, layout) in [([3, 5], Layout::OutIn), ([5, 3], Layout::InOut)] {
            let worst = gradcheck(&[values(shape, 1)], |x| orthogonality(&x[0], layout));
            // The difference quotient's own error, and the roots.
            assert!(worst.unwrap() <= 1e-3);
        }
    }
}
