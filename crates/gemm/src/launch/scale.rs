//! Factors of the columns of a finished product.

use device::DType;
use device::launch::{DeviceBuffer, Executor};

use super::matrix::elements;
use super::product::product;
use super::{Matrix, MatrixMut, Update};
use crate::GemmError;
use crate::matrix::Stored;

/// What multiplies the columns of a result before it is rounded and written: a scaling that costs no pass over it.
#[derive(Debug)]
pub struct ColumnScale<'a> {
    /// `[n]` f32.
    pub factors: &'a DeviceBuffer,
    /// The result without them, as `C` in type, shape and stride: what the gradient of the factors is made of. Overwritten.
    pub unscaled: Option<&'a mut DeviceBuffer>,
}

impl ColumnScale<'_> {
    pub(super) fn reborrow(&mut self) -> ColumnScale<'_> {
        ColumnScale { factors: self.factors, unscaled: self.unscaled.as_deref_mut() }
    }

    /// Fails unless both buffers fit `c` and are of its executor.
    pub(super) fn check(&self, c: &MatrixMut<'_>) -> Result<(), GemmError> {
        Stored::dense(1, c.stored.cols).check("scale", elements(self.factors, DType::F32))?;
        if let Some(unscaled) = &self.unscaled {
            c.stored.check("unscaled", elements(unscaled, c.dtype))?;
        }
        Executor::of(c.buffer, self.buffers())?;
        Ok(())
    }

    pub(super) fn buffers(&self) -> impl Iterator<Item = &DeviceBuffer> {
        [self.factors].into_iter().chain(self.unscaled.as_deref())
    }
}

/// Addresses of the factors and of the result without them; 0 for what there is not.
pub(super) fn addresses(scale: Option<&ColumnScale<'_>>) -> [u64; 2] {
    let unscaled = scale.and_then(|scale| scale.unscaled.as_deref());
    [scale.map_or(0, |scale| scale.factors.address()), unscaled.map_or(0, DeviceBuffer::address)]
}

/// `C = (A B + bias) diag(scale)`: [`crate::gemm_scaled`] on device buffers.
///
/// # Errors
/// Those of [`gemm`](super::gemm()); [`GemmError::Length`] also for a scale that does not fit `C`.
pub fn gemm_scaled(
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&DeviceBuffer>,
    scale: ColumnScale<'_>,
    c: MatrixMut<'_>,
) -> Result<(), GemmError> {
    product(1.0, (a, b), bias.map_or(Update::Overwrite, Update::Bias), Some(scale), c)
}
