//! What can be wrong with the arguments.

use device::{DType, DeviceError};
use gemm::GemmError;

/// Errors of quantization. Nothing is written when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Nf4Error {
    /// A block size that bitsandbytes does not have.
    #[error("nf4: blocks of {block_size} elements, expected 32, 64, 128, 256, 512, 1024, 2048 or 4096")]
    BlockSize {
        /// As given.
        block_size: usize,
    },
    /// A block size of the second quantization that is zero.
    #[error("nf4: nested blocks hold {block_size} values of absmax, expected at least 1")]
    NestedBlockSize {
        /// As given.
        block_size: usize,
    },
    /// A slice does not hold what the shape says.
    #[error("nf4: `{argument}` holds {got} elements, expected {expected}")]
    Length {
        /// The argument.
        argument: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A part of the matrix that is not all there.
    #[error("nf4: elements {first}..{} were asked for of {num_elements}", .first.saturating_add(*.len))]
    Range {
        /// The first element asked for.
        first: usize,
        /// How many.
        len: usize,
        /// How many there are.
        num_elements: usize,
    },
    /// A tensor that is not the matrix it is said to be.
    #[error("nf4: {got} quantized elements, expected {rows} x {columns}")]
    Matrix {
        /// Of the matrix.
        rows: usize,
        /// Of the matrix.
        columns: usize,
        /// Elements of the tensor.
        got: usize,
    },
    /// A buffer of a product has the wrong length.
    #[error("nf4: `{argument}` holds {got} elements, expected {} x {} = {}", .shape[0], .shape[1], .shape[0].saturating_mul(.shape[1]))]
    BufferLength {
        /// Name of the argument.
        argument: &'static str,
        /// Its shape; `[1, n]` for a vector.
        shape: [usize; 2],
        /// Its length.
        got: usize,
    },
    /// A size overflows the address space.
    #[error("nf4: a product of {num_tokens} tokens with {rows} x {columns} overflows; use smaller batches")]
    TooLarge {
        /// Rows of the other operand.
        num_tokens: usize,
        /// Of the quantized matrix.
        rows: usize,
        /// Of the quantized matrix.
        columns: usize,
    },
    /// A kernel was asked for a type that it does not have.
    #[error("nf4: kernels take float32 and bfloat16, got {got}; convert first")]
    KernelDType {
        /// The type.
        got: DType,
    },
    /// A block size of the second quantization that kernels do not have.
    #[error("nf4: nested blocks hold {block_size} values of absmax; kernels take powers of two, as bitsandbytes' 256")]
    KernelNestedBlockSize {
        /// As given.
        block_size: usize,
    },
    /// A product with dequantized values failed.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// No memory for intermediate values, or a launch failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
