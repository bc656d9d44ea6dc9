//! Launching the soft cap: [`crate::softcap`] on device buffers.

use device::DType;
use device::launch::DeviceBuffer;

use super::activation::pointwise;
use super::kernels::{SOFTCAP_BACKWARD_BF16, SOFTCAP_BACKWARD_F32, SOFTCAP_FORWARD_BF16, SOFTCAP_FORWARD_F32};
use super::of_dtype;
use crate::{Result, softcap};

const OP: &str = "softcap";

/// Writes the capped `x` to `y`. Both hold `len` elements of `dtype`, f32 or bf16.
///
/// # Errors
/// [`crate::TransformerError::Softcap`] unless `cap` is positive and finite, [`crate::TransformerError::Length`],
/// [`crate::TransformerError::KernelDType`] for f16, [`crate::TransformerError::Device`] for buffers of different devices and
/// for what a launch refuses.
pub fn forward(dtype: DType, cap: f32, len: usize, x: &DeviceBuffer, y: &mut DeviceBuffer) -> Result<()> {
    softcap::check(cap)?;
    let kernel = of_dtype(OP, dtype, &SOFTCAP_FORWARD_F32, &SOFTCAP_FORWARD_BF16)?;
    pointwise(OP, kernel, dtype, len, [("x", x), ("y", y)], (0, cap))
}

/// Turns `dy`, the gradient of the capped `x`, into the gradient of `x` in place.
///
/// # Errors
/// As [`forward`].
pub fn backward(dtype: DType, cap: f32, len: usize, x: &DeviceBuffer, dy: &mut DeviceBuffer) -> Result<()> {
    softcap::check(cap)?;
    let kernel = of_dtype(OP, dtype, &SOFTCAP_BACKWARD_F32, &SOFTCAP_BACKWARD_BF16)?;
    pointwise(OP, kernel, dtype, len, [("x", x), ("dy", dy)], (0, cap))
}
