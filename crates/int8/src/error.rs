//! What can be wrong with the arguments.

use device::DeviceError;

/// Errors of this crate. Nothing is written when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Int8Error {
    /// A slice does not hold what the shape says.
    #[error("int8: `{argument}` holds {got} elements, expected {} x {}", .shape[0], .shape[1])]
    Length {
        /// The argument.
        argument: &'static str,
        /// Its shape; `[1, n]` for a vector.
        shape: [usize; 2],
        /// Elements given.
        got: usize,
    },
    /// A sum of more products than 32 bits have room for.
    #[error(
        "int8: sums over {depth} elements may not fit 32 bits, which {} do; hold the weight in another type",
        crate::MAX_DEPTH
    )]
    Depth {
        /// Elements of a sum.
        depth: usize,
    },
    /// A device without memory.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Checks that a slice of `got` elements holds a matrix.
pub(crate) fn check(argument: &'static str, shape: [usize; 2], got: usize) -> Result<(), Int8Error> {
    match shape[0].checked_mul(shape[1]) == Some(got) {
        true => Ok(()),
        false => Err(Int8Error::Length { argument, shape, got }),
    }
}
