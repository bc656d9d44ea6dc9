//! What can be wrong with the arguments of a weight.

use device::DeviceError;

/// Errors of a weight of Kronecker products. Lengths are checked before anything is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhmError {
    /// Sizes that are 0, or that a kernel cannot index.
    #[error(
        "phm: {n} products of {p} x {rank} and {rank} x {q} matrices; expected sizes from 1 whose weight can be addressed"
    )]
    Sizes {
        /// Products.
        n: usize,
        /// Rows of the left factors.
        p: usize,
        /// Columns of the right factors.
        q: usize,
        /// Columns of the left factors.
        rank: usize,
    },
    /// A slice has the wrong length.
    #[error("phm: `{argument}` holds {got} elements, expected {expected}")]
    Length {
        /// Name of the argument.
        argument: &'static str,
        /// Elements that the sizes ask for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// No memory for intermediate values, or a launch failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
