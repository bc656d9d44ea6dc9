//! The recurrence as kernels, on a GPU or emulated: [`crate::forward`](crate::forward()) and [`crate::Backward`] over
//! [`DeviceBuffer`]s, in f32.
//!
//! A step is one launch, which starts when the step before it is done: that is what a recurrence takes. The gradient of `W_hh`
//! is one product over all steps.

mod backward;
mod forward;
mod kernels;
mod params;

use device::DType;
use device::launch::DeviceBuffer;

use crate::LstmError;
use crate::shape::check;

pub use backward::{Backward, Saved};
pub use forward::{Forward, forward};

/// Fails unless the buffer holds a matrix of f32.
fn check_buffer(argument: &'static str, shape: [usize; 2], buffer: &DeviceBuffer) -> Result<(), LstmError> {
    // Shapes were checked to be addressable.
    buffer.expect_elements(DType::F32, shape[0] * shape[1]).or_else(|got| check(argument, shape, got))
}

/// How a kernel is told of a step that there may be.
fn place(step: Option<usize>) -> u64 {
    step.map_or(params::LSTM_NONE, |step| step as u64)
}
