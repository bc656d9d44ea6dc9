//! The ops as kernels, on a GPU or emulated: the same methods over [`DeviceBuffer`]s.
//!
//! | op | kernels |
//! |---|---|
//! | [`activation`], [`softcap`] | forward, gradient in place |
//! | [`broadcast`] | one row added to every row |
//! | [`columns`], [`rows`] | gather, and the transposed map; [`rows`] serves embeddings too |
//! | [`cross_entropy`] | loss of each row, gradient in the place of the logits, sums |
//! | [`elementwise`] | sums, quotients, multiples; conversions between types |
//! | [`gated`], [`gated_scaled`] | forward, gradients of both factors and of the scale |
//! | [`layer_norm`] | forward, gradients of `x`, of the weight and of the bias |
//! | [`linear_cross_entropy`] | the loss of a product and its gradients, by those of [`gemm`], [`rows`] and [`cross_entropy`] |
//! | [`mean_rows`] | forward, gradient of `x` |
//! | [`prepend`] | forward, gradients of the rows and of `x` |
//! | [`rms_norm`] | forward, gradients of `x` and of the weight |
//! | [`rope`] | forward and backward, also in place |
//! | [`sums`] | an inner product, a squared error |
//!
//! Activations, weights and the gradients of activations are f32 or bf16, one type for all of a call where nothing else is
//! said; gradients of weights and what is saved for the backward are f32. Arithmetic is f32, rounded once where a result is stored.

pub mod activation;
pub mod broadcast;
mod column_sum;
pub mod columns;
pub mod cross_entropy;
pub mod elementwise;
pub mod gated;
pub mod gated_scaled;
mod kernels;
pub mod layer_norm;
pub mod linear_cross_entropy;
pub mod mean_rows;
mod params;
pub mod prepend;
pub mod rms_norm;
pub mod rope;
pub mod rows;
pub mod softcap;
mod starts;
pub mod sums;

use device::DType;
use device::launch::{DeviceBuffer, Kernel};

use crate::{Result, TransformerError};

pub use starts::Starts;

/// A buffer and what it holds.
pub type Typed<B> = (DType, B);

/// A gradient to write: over what is there, or added to it.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The memory; if `add` is not set, what it holds is never read.
    pub values: &'a mut DeviceBuffer,
    /// Whether to add to `values`.
    pub add: bool,
}

impl<'a> Gradient<'a> {
    /// Replaces what `values` holds.
    pub fn overwrite(values: &'a mut DeviceBuffer) -> Self {
        Self { values, add: false }
    }

    /// Adds to what `values` holds.
    pub fn accumulate(values: &'a mut DeviceBuffer) -> Self {
        Self { values, add: true }
    }
}

/// Fails unless the buffer holds as many elements of `dtype` as the product of `shape`.
fn check_len(
    op: &'static str,
    argument: &'static str,
    shape: &[usize],
    dtype: DType,
    buffer: &DeviceBuffer,
) -> Result<()> {
    // Saturated, the product is no buffer's length.
    let expected = shape.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
    let length = |got| TransformerError::Length { op, argument, expected, got };
    buffer.expect_elements(dtype, expected).map_err(length)
}

/// The kernel for operands of `dtype`.
fn of_dtype<P>(
    op: &'static str,
    dtype: DType,
    f32: &'static Kernel<P>,
    bf16: &'static Kernel<P>,
) -> Result<&'static Kernel<P>> {
    match dtype {
        DType::F32 => Ok(f32),
        DType::BF16 => Ok(bf16),
        DType::F16 => Err(TransformerError::KernelDType { op, got: dtype }),
    }
}
