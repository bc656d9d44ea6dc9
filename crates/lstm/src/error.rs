//! What can be wrong with the arguments of a recurrence.

use device::DeviceError;
use gemm::GemmError;

/// Errors of a recurrence. Lengths are checked before anything is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LstmError {
    /// A size overflows the address space.
    #[error("lstm: {num_steps} steps of hidden size {hidden_size} overflow")]
    TooLarge {
        /// Steps of the sequence.
        num_steps: usize,
        /// Elements of a state.
        hidden_size: usize,
    },
    /// A slice has the wrong length.
    #[error("lstm: `{argument}` holds {got} elements, expected {} x {} = {}", .shape[0], .shape[1], .shape[0] * .shape[1])]
    Length {
        /// Name of the argument.
        argument: &'static str,
        /// Its shape.
        shape: [usize; 2],
        /// Its length.
        got: usize,
    },
    /// A product failed.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// No memory for intermediate values.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
