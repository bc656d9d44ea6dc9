//! What can be wrong with the arguments.

use device::DeviceError;

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
    /// Memory for the sums of tasks could not be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
