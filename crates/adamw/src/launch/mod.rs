//! The step and the gradient norm as kernels, on a GPU or emulated: the same methods over [`DeviceBuffer`]s.
//!
//! ```text
//! GradNorm::clip     gradients -> norm and clip coefficient, which stay on the device
//! step               reads the coefficient there, so nothing waits for the host
//! GradNorm::outcome  norm and losses, when the host wants to know; a step that failed before has changed nothing
//! ```
//!
//! [`step()`] and [`step_8bit()`] compute the bits of [`crate::step()`] and [`crate::step_8bit()`]. The norm adds the same f64 squares as [`crate::grad_norm`] in another
//! order: with `n` gradients the two differ by at most a factor `1 + n 2^-52`.

mod grad_norm;
mod kernels;
mod params;
mod step;
mod step_8bit;

use device::DType;
use device::launch::DeviceBuffer;

use crate::step::Rates;
use crate::{AdamWError, Result};
use params::AdamWRates;

pub use grad_norm::GradNorm;
pub use step::{Step, step};
pub use step_8bit::{Codes, Maps, Step8bit, step_8bit};

/// How many elements of `dtype` the buffer holds must be `expected`.
fn check_len(argument: &'static str, buffer: &DeviceBuffer, dtype: DType, expected: usize) -> Result<()> {
    buffer.expect_elements(dtype, expected).map_err(|got| AdamWError::Length { argument, expected, got })
}

impl From<Rates> for AdamWRates {
    fn from(rates: Rates) -> Self {
        let Rates { keep, one_minus_beta1, beta2, one_minus_beta2, sqrt_bias_correction2, epsilon, step_size } = rates;
        Self { keep, one_minus_beta1, beta2, one_minus_beta2, sqrt_bias_correction2, epsilon, step_size }
    }
}
