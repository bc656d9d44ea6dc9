//! The projection as kernels, on a GPU or emulated: [`crate::forward`](crate::forward()) and [`crate::Backward`] over
//! [`DeviceBuffer`]s, for up to three projections of one input at once (q, k and v; gate and up).
//!
//! | launch | computes |
//! |---|---|
//! | [`forward`](forward()) | `s`, then `y`, of all projections |
//! | [`Backward::new`] | `dS` of all projections |
//! | [`Backward::x`] | `dX`, summed over all projections |
//! | [`Backward::lora_a`], [`Backward::lora_b`] | `dA`, `dB` of all projections |
//! | [`Backward::lora_bias`] | `dlora_bias` of one projection |
//! | [`dropout`](dropout()) | `mask / (1 - p) x`, where something else than a projection drops |
//! | [`dora`] | the norms of a weight with its update |
//! | [`orthogonality`](orthogonality()) | how far rows are from orthonormal |
//!
//! `x`, `W`, `A`, `B`, biases, `s`, `dS` and the gradients of activations are of one type, f32 or bf16; gradients of `A`, `B`
//! and `lora_bias` are f32. Sums are f32 and rounded once where they are stored: with bf16 that is `s`, `y`, `dS` and `dX`.
//! The dropout mask is the one of the CPU implementation, element for element. Nothing is added atomically: results are the
//! same bits in every run.
//!
//! On Hopper the large products, `y` and `dX`, go through [`gemm::launch::sums_on_hopper`] where it takes the operands: in
//! bf16 with ranks and features that are multiples of 8, `y` without `lora_bias`, `dX` without dropout, whose mask stands
//! between the terms.
//!
//! Weights in NF4 ([`Weight::Nf4`]) are dequantized on their way to shared memory, so that a dense weight is nowhere; up to eight
//! tokens stream them ([`nf4::launch::matvec`]), and where there are so many tokens that it pays
//! ([`nf4::launch::dequantizes_first`]) each is dequantized for the one launch.

mod backward;
pub mod dora;
mod dropout;
mod forward;
mod group;
mod kernels;
mod narrow;
mod orthogonality;
mod params;
mod weight;

use device::DType;
use device::launch::{DeviceBuffer, Kernel};
use gemm::launch::Matrix;

use crate::LoraError;
use crate::shape::check;

pub use backward::{Backward, Saved};
pub use dropout::dropout;
pub use forward::{Output, forward};
pub use group::{Group, Projection};
pub use orthogonality::orthogonality;
pub use weight::Weight;

/// A row-major operand.
fn matrix(buffer: &DeviceBuffer, dtype: DType, [rows, cols]: [usize; 2]) -> Matrix<'_> {
    Matrix::new(buffer, dtype, rows, cols)
}

/// A gradient to write: over what is there, or added to it.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The memory; if `add` is not set, what it holds is never read.
    pub values: &'a mut DeviceBuffer,
    /// Whether to add to `values`.
    pub add: bool,
}

/// Fails unless the buffer holds a matrix of `dtype`.
fn check_buffer(
    argument: &'static str,
    shape: [usize; 2],
    dtype: DType,
    buffer: &DeviceBuffer,
) -> Result<(), LoraError> {
    // Saturated, the product is no buffer's length.
    buffer.expect_elements(dtype, shape[0].saturating_mul(shape[1])).or_else(|got| check(argument, shape, got))
}

/// Fails unless there is one buffer for each projection.
fn check_count(argument: &'static str, expected: usize, got: usize) -> Result<(), LoraError> {
    if expected == got { Ok(()) } else { Err(LoraError::GroupBuffers { argument, expected, got }) }
}

/// The kernel for operands of `dtype`.
fn of_dtype<P>(
    dtype: DType,
    f32: &'static Kernel<P>,
    bf16: &'static Kernel<P>,
) -> Result<&'static Kernel<P>, LoraError> {
    match dtype {
        DType::F32 => Ok(f32),
        DType::BF16 => Ok(bf16),
        DType::F16 => Err(LoraError::KernelDType { got: dtype }),
    }
}
