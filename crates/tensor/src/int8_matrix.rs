//! A frozen matrix in 8-bit integers with one scale for each output channel.

use std::sync::Arc;

use device::{Buffer, DType, Device, DeviceError};
use gemm::Matrix;
use int8::{Operand, dequantize, quantize};

use crate::{Result, Tensor, TensorError};

const OP: &str = "int8_matrix";

/// A quantized weight `[out_features, in_features]`. Cloning shares it. Products with it quantize activations too, token by
/// token, on the CPU alone: see the crate `int8`.
#[derive(Clone)]
pub struct Int8Matrix(Arc<Inner>);

struct Inner {
    columns: usize,
    dtype: DType,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

impl Int8Matrix {
    /// Quantizes a matrix. Where its values are asked for they are rounded to `dtype`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if `tensor` is no matrix; [`TensorError::Kernel`] for one of more rows or columns than sums of 32
    /// bits have room for; [`TensorError::Device`] without memory.
    pub fn quantize(tensor: &Tensor, dtype: DType) -> Result<Self> {
        let (rows, columns) = tensor.matrix_shape(OP, "tensor")?;
        let (mut codes, mut scales) = (zeros(tensor.count())?, zeros(rows)?);
        quantize(tensor.read().elements(), columns, &mut codes, &mut scales).map_err(TensorError::kernel(OP))?;
        int8::Int8Matrix::new(&codes, &scales, columns).map_err(TensorError::kernel(OP))?;
        Ok(Self(Arc::new(Inner { columns, dtype, codes, scales })))
    }

    /// Sizes: `[out_features, in_features]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.0.scales.len(), self.0.columns]
    }

    /// What its values are rounded to where they are asked for.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Bytes that it takes in memory.
    pub fn size_bytes(&self) -> usize {
        Self::planned_bytes(self.shape())
    }

    /// Bytes that a matrix of this shape takes.
    pub fn planned_bytes([rows, columns]: [usize; 2]) -> usize {
        rows * (columns + size_of::<f32>())
    }

    /// All of its values, in [`Int8Matrix::dtype`].
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory.
    pub fn dequantize(&self) -> Result<Tensor> {
        let mut buffer = Buffer::scratch(Device::Cpu, self.dtype(), self.0.codes.len())?;
        dequantize(self.operand(), buffer.elements_mut()?).map_err(TensorError::kernel(OP))?;
        Tensor::new(self.shape(), buffer)
    }

    /// The first element of a row whose scale is not finite, with that scale.
    pub fn first_non_finite(&self) -> Option<(usize, f32)> {
        let row = self.0.scales.iter().position(|scale| !scale.is_finite())?;
        Some((row * self.0.columns, self.0.scales[row]))
    }

    /// Runs `body` on its values, for an op that has no products of integers.
    pub(crate) fn with_matrix<R>(&self, body: impl FnOnce(Matrix<'_>) -> R) -> R {
        let [rows, columns] = self.shape();
        body(Matrix::expanded(&Operand::new(self.operand(), self.dtype()), rows, columns))
    }

    /// It as products take it.
    pub(crate) fn operand(&self) -> int8::Int8Matrix<'_> {
        let Inner { columns, codes, scales, .. } = &*self.0;
        int8::Int8Matrix::new(codes, scales, *columns).expect("the sizes were checked when the matrix was made")
    }
}

impl std::fmt::Debug for Int8Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Int8Matrix({:?} {})", self.shape(), self.dtype())
    }
}

/// Zeros, or an error where there is no memory for them.
fn zeros<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    values.try_reserve_exact(len).map_err(|_| DeviceError::OutOfMemory { device: Device::Cpu.to_string(), bytes })?;
    values.resize(len, T::default());
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_byte_an_element_and_gives_values_back_to_half_a_scale() {
        let values: Vec<f32> = (0..6 * 40).map(|i| (i as f32 * 0.7).sin() * 0.1).collect();
        let matrix = Int8Matrix::quantize(&Tensor::from_f32([6, 40], &values).unwrap(), DType::F32).unwrap();
        assert_eq!((matrix.shape(), matrix.size_bytes()), ([6, 40], 240 + 24));
        for (got, expected) in matrix.dequantize().unwrap().to_vec().into_iter().zip(values) {
            // Half of 0.1 / 127, and the rounding of the scale.
            assert!((got - expected).abs() <= 0.1 / 253.0, "{got} {expected}");
        }
        assert_eq!(matrix.first_non_finite(), None);
        let broken = Tensor::from_f32([2, 2], &[1.0, 2.0, 3.0, f32::INFINITY]).unwrap();
        let found = Int8Matrix::quantize(&broken, DType::F32).unwrap().first_non_finite();
        assert!(matches!(found, Some((2, scale)) if scale.is_nan()));
    }
}
