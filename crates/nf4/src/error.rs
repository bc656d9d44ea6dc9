//! What can be wrong with the arguments.

/// Errors of quantization. Nothing is written when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Nf4Error {
    /// A block size that bitsandbytes does not have.
    #[error("nf4: blocks of {block_size} elements, expected 32, 64, 128, 256, 512, 1024, 2048 or 4096")]
    BlockSize {
        /// As given.
        block_size: usize,
    },
    /// A block size of the second quantization that is zero.
    #[error("nf4: nested blocks hold {block_size} values of absmax, expected at least 1")]
    NestedBlockSize {
        /// As given.
        block_size: usize,
    },
    /// A slice does not hold what the shape says.
    #[error("nf4: `{argument}` holds {got} elements, expected {expected}")]
    Length {
        /// The argument.
        argument: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A part of the matrix that is not all there.
    #[error("nf4: elements {first}..{} were asked for of {num_elements}", .first.saturating_add(*.len))]
    Range {
        /// The first element asked for.
        first: usize,
        /// How many.
        len: usize,
        /// How many there are.
        num_elements: usize,
    },
}
