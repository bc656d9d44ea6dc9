//! What can be wrong with the arguments.

use device::{DType, DeviceError};

/// Errors of the scaling. Nothing is written when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ia3Error {
    /// A slice does not hold what the shape says.
    #[error("ia3: `{argument}` holds {got} elements, expected {expected}")]
    Length {
        /// The argument.
        argument: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A kernel was asked for a type that it does not have.
    #[error("ia3: kernels take float32 and bfloat16 activations, got {got}; convert them first")]
    DType {
        /// The type.
        got: DType,
    },
    /// Memory for the sums of tasks could not be had, or a launch failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
