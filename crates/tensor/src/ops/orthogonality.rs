//! `y = |P P^T - I|_F`: how far the rows of a matrix are from orthonormal.
//!
//! `dP = 2 dy D P` with `D = (P P^T - I) / y`, which is saved; zero where y is.

use device::{Buffer, DType, Device};
use gemm::{Matrix, MatrixMut, Update, gemm};
use lora::launch;
use transformer::launch::elementwise::{Factor, scale_in_place};

use super::linear::on_device::update_of;
use super::linear::update;
use crate::{Layout, Result, Tensor, TensorError, Weight};

const OP: &str = "orthogonality";

/// The distance from orthonormal of the rows of P, as a scalar. `matrix` is P where `layout` is [`Layout::OutIn`], and its
/// transpose where it is [`Layout::InOut`]. The squares are added in f64.
///
/// # Errors
/// [`TensorError::Shape`] unless it is a matrix; [`TensorError::DType`] unless it is f32; [`TensorError::Kernel`].
pub fn orthogonality(matrix: &Tensor, layout: Layout) -> Result<Tensor> {
    let weight = Weight::dense(matrix.clone(), layout)?;
    if matrix.device() != Device::Cpu {
        return on_device(matrix, &weight);
    }
    let (rows, columns) = (weight.out_features(), weight.in_features());
    let mut distance = Buffer::scratch(matrix.device(), DType::F32, rows * rows)?;
    let gram = MatrixMut::new(distance.f32_mut()?, rows, rows);
    weight.with_matrix(|p| gemm(1.0, p, p.transposed(), Update::Overwrite, gram))?.map_err(TensorError::kernel(OP))?;
    let norm = lora::orthogonality(rows, distance.f32_mut()?).map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [1], Buffer::from_f32(matrix.device(), &[norm])?, &[matrix], move |grad_y, sink| {
        let factor = 2.0 * grad_y.f32()?[0];
        let distance = Matrix::new(distance.f32()?, rows, rows);
        sink.accumulate(0, |grad, add| {
            let product = weight.with_matrix(|p| match layout {
                Layout::OutIn => gemm(factor, distance, p, update(add), MatrixMut::new(grad, rows, columns)),
                Layout::InOut => {
                    gemm(factor, p.transposed(), distance, update(add), MatrixMut::new(grad, columns, rows))
                }
            })?;
            product.map_err(TensorError::kernel(OP))
        })
    })
}

/// The same as kernels, in f32. Nothing waits for the norm.
fn on_device(matrix: &Tensor, weight: &Weight) -> Result<Tensor> {
    use gemm::launch::{Matrix, MatrixMut, Update, gemm};
    let (device, rows, layout) = (matrix.device(), weight.out_features(), weight.layout());
    let p = weight.on_device(OP, device, DType::F32)?.into_dense(OP, DType::F32)?;
    let mut distance = Buffer::scratch(device, DType::F32, rows * rows)?;
    let mut norm = Buffer::scratch(device, DType::F32, 1)?;
    let gram = MatrixMut::new(distance.memory_mut()?, DType::F32, rows, rows);
    gemm(1.0, p.matrix(), p.matrix().transposed(), Update::Overwrite, gram).map_err(TensorError::kernel(OP))?;
    launch::orthogonality(rows, distance.memory_mut()?, norm.memory_mut()?).map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [1], norm, &[matrix], move |grad_y, sink| {
        let dy = Factor::Times(1.0, grad_y.memory()?);
        scale_in_place(rows * rows, dy, (DType::F32, distance.memory_mut()?)).map_err(TensorError::kernel(OP))?;
        let distance = Matrix::new(distance.memory()?, DType::F32, rows, rows);
        let (a, b) = match layout {
            Layout::OutIn => (distance, p.matrix()),
            Layout::InOut => (p.matrix().transposed(), distance),
        };
        let [stored_rows, stored_columns] = p.stored();
        sink.accumulate_on(0, DType::F32, |grad, add| {
            let grad = MatrixMut::new(grad, DType::F32, stored_rows, stored_columns);
            gemm(2.0, a, b, update_of(add), grad).map_err(TensorError::kernel(OP))
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
