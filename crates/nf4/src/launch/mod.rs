//! Quantized weights as kernels, on a GPU or emulated: the same functions over [`DeviceBuffer`]s.
//!
//! | launch | computes | bits |
//! |---|---|---|
//! | [`quantize`](quantize()), [`quantize_absmax`](quantize_absmax()) | codes and scales | the CPU's |
//! | [`dequantize`](dequantize()) | values, in one pass with double quantization | the CPU's |
//! | [`linear`](linear()) | `y = x W^T + bias` | within twice the bound of [`gemm`] |
//! | [`grad_x`](grad_x()) | `dX = dY W` | the same |
//!
//! Tensors are f32 or bf16; values are rounded to that type, and before to [`Blocks::dtype`], before they are multiplied. Sums are
//! f32 and rounded once where they are stored. A product takes one of three ways, by its number of tokens:
//! - up to eight ([`matvec`](matvec())) it is bound by reading the codes, which each multiprocessor streams;
//! - up to the bound of [`dequantizes_first`] values are dequantized on their way to shared memory, and a dense weight is nowhere;
//! - beyond, the weight is dequantized into memory of the device's pool, which the next product gets again.

mod dequantize;
mod kernels;
mod matrix;
mod matvec;
mod nested;
mod params;
mod product;
mod quantize;

use device::DType;
use device::launch::{DeviceBuffer, Kernel};

use crate::Nf4Error;
use crate::shape::check_len;

pub use dequantize::{Dequantize, dequantize};
pub use matrix::{Absmax, Blocks, Matrix, NestedAbsmax};
pub use matvec::{LowRank, Matvec, matvec};
pub use nested::{QuantizeAbsmax, quantize_absmax};
pub use params::{NF4_MATVEC_TOKENS, Nf4Weight};
pub use product::{GradX, Linear, dequantizes_first, grad_x, linear};
pub use quantize::{Quantize, quantize};

/// How many elements of `dtype` the buffer holds must be `expected`.
fn check_elements(
    argument: &'static str,
    buffer: &DeviceBuffer,
    dtype: DType,
    expected: usize,
) -> Result<(), Nf4Error> {
    buffer.expect_elements(dtype, expected).or_else(|got| check_len(argument, expected, got))
}

/// The same of bytes.
fn check_bytes(argument: &'static str, buffer: &DeviceBuffer, expected: usize) -> Result<(), Nf4Error> {
    check_len(argument, expected, buffer.len_bytes())
}

/// Fails unless the buffer holds a matrix of `dtype`.
fn check_matrix(
    argument: &'static str,
    buffer: &DeviceBuffer,
    dtype: DType,
    shape: [usize; 2],
) -> Result<(), Nf4Error> {
    let wrong = |got| Nf4Error::BufferLength { argument, shape, got };
    buffer.expect_elements(dtype, shape[0].saturating_mul(shape[1])).map_err(wrong)
}

/// The kernel for tensors of `dtype`.
fn of_dtype<P>(
    dtype: DType,
    f32: &'static Kernel<P>,
    bf16: &'static Kernel<P>,
) -> Result<&'static Kernel<P>, Nf4Error> {
    match dtype {
        DType::F32 => Ok(f32),
        DType::BF16 => Ok(bf16),
        DType::F16 => Err(Nf4Error::KernelDType { got: dtype }),
    }
}
