//! Matrices as views of device buffers.

use device::DType;
use device::launch::DeviceBuffer;

use crate::GemmError;
use crate::matrix::Stored;

/// A matrix in device memory, possibly transposed, possibly a block of columns of a wider one that starts with the buffer.
///
/// It is described freely and checked when it is used: see [`gemm`](super::gemm()).
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(super) buffer: &'a DeviceBuffer,
    pub(super) dtype: DType,
    pub(super) stored: Stored,
    pub(super) transposed: bool,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix `[rows, cols]` of `dtype`.
    pub fn new(buffer: &'a DeviceBuffer, dtype: DType, rows: usize, cols: usize) -> Self {
        Self { buffer, dtype, stored: Stored::dense(rows, cols), transposed: false }
    }

    /// The same elements read as the transpose: `[cols, rows]`. Nothing is moved.
    pub fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Stored rows start `row_stride` elements apart; the buffer may end right after the last one.
    pub fn with_row_stride(self, row_stride: usize) -> Self {
        Self { stored: Stored { row_stride, ..self.stored }, ..self }
    }

    /// Rows and columns, after transposition.
    pub(super) fn shape(&self) -> [usize; 2] {
        let Stored { rows, cols, .. } = self.stored;
        if self.transposed { [cols, rows] } else { [rows, cols] }
    }

    pub(super) fn check(&self, operand: &'static str) -> Result<(), GemmError> {
        self.stored.check(operand, elements(self.buffer, self.dtype))
    }
}

/// A matrix in device memory that a product is written to.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    pub(super) buffer: &'a mut DeviceBuffer,
    pub(super) dtype: DType,
    pub(super) stored: Stored,
}

impl<'a> MatrixMut<'a> {
    /// A row-major matrix `[rows, cols]` of `dtype`.
    pub fn new(buffer: &'a mut DeviceBuffer, dtype: DType, rows: usize, cols: usize) -> Self {
        Self { buffer, dtype, stored: Stored::dense(rows, cols) }
    }

    /// Rows start `row_stride` elements apart; what lies between them is left alone.
    pub fn with_row_stride(self, row_stride: usize) -> Self {
        Self { stored: Stored { row_stride, ..self.stored }, ..self }
    }

    pub(super) fn check(&self) -> Result<(), GemmError> {
        self.stored.check("C", elements(self.buffer, self.dtype))
    }
}

/// Whole elements in a buffer.
pub(super) fn elements(buffer: &DeviceBuffer, dtype: DType) -> usize {
    buffer.len_bytes() / dtype.size_bytes()
}
