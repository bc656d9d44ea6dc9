//! What can be wrong with the operands of a product.

use device::{DType, DeviceError};

/// Errors of a matrix product. Nothing is written to the output when one is returned for its operands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GemmError {
    /// The columns of `A` are not the rows of `B`.
    #[error("gemm: A is [{}, {}] and B is [{}, {}]; the columns of A must be the rows of B", .a[0], .a[1], .b[0], .b[1])]
    InnerSize {
        /// Rows and columns of `A`.
        a: [usize; 2],
        /// Rows and columns of `B`.
        b: [usize; 2],
    },
    /// The output does not have the shape of the product.
    #[error("gemm: the product is [{}, {}], expected C of that shape, got [{}, {}]", .expected[0], .expected[1], .got[0], .got[1])]
    OutputShape {
        /// Rows of `A` and columns of `B`.
        expected: [usize; 2],
        /// Rows and columns of `C`.
        got: [usize; 2],
    },
    /// A slice does not hold the matrix it is said to hold.
    #[error(
        "gemm: {operand} is stored as {rows} rows of {cols} with row stride {row_stride}: expected {expected} elements, got {got}"
    )]
    Length {
        /// `A`, `B`, `C` or `bias`.
        operand: &'static str,
        /// Rows as stored.
        rows: usize,
        /// Columns as stored.
        cols: usize,
        /// Elements from one stored row to the next.
        row_stride: usize,
        /// Elements needed: exactly, if the rows are dense; at least, otherwise.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// Rows would overlap.
    #[error("gemm: {operand} has row stride {row_stride}, less than its {cols} stored columns")]
    RowStride {
        /// `A`, `B` or `C`.
        operand: &'static str,
        /// Columns as stored.
        cols: usize,
        /// Elements from one stored row to the next.
        row_stride: usize,
    },
    /// Kernels were asked for types that they do not have.
    #[error(
        "gemm: kernels take A and B both float32 or both bfloat16, and C of their type or float32; got {a}, {b} and {c}; convert first"
    )]
    KernelDType {
        /// Of `A`.
        a: DType,
        /// Of `B`.
        b: DType,
        /// Of `C`.
        c: DType,
    },
    /// Packed panels or partial products could not be allocated, or a launch failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
