//! What can be wrong with the arguments of a LoRA projection.

use device::DeviceError;
use gemm::GemmError;

/// Errors of a LoRA projection. Lengths and shapes are checked before anything is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// A low-rank product needs a rank.
    #[error("lora: the rank is 0; expected at least 1")]
    RankZero,
    /// A size overflows the address space.
    #[error(
        "lora: {num_tokens} tokens, {in_features} x {out_features} features, rank {rank} overflow; use smaller batches"
    )]
    TooLarge {
        /// Rows of `x` and `y`.
        num_tokens: usize,
        /// Columns of `x`.
        in_features: usize,
        /// Columns of `y`.
        out_features: usize,
        /// Rows of `A`.
        rank: usize,
    },
    /// A slice has the wrong length.
    #[error("lora: `{argument}` holds {got} elements, expected {} x {} = {}", .shape[0], .shape[1], .shape[0] * .shape[1])]
    Length {
        /// Name of the argument.
        argument: &'static str,
        /// Its shape; `[1, n]` for a vector.
        shape: [usize; 2],
        /// Its length.
        got: usize,
    },
    /// The base weight has the wrong shape.
    #[error("lora: `weight` is [{}, {}], expected [out_features, in_features] = [{}, {}]", .got[0], .got[1], .expected[0], .expected[1])]
    WeightShape {
        /// `[out_features, in_features]`.
        expected: [usize; 2],
        /// As given, after transposition.
        got: [usize; 2],
    },
    /// Not a probability of dropping that leaves anything.
    #[error("lora: dropout probability {probability} is not in [0, 1)")]
    Dropout {
        /// As given.
        probability: f32,
    },
    /// A product failed.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// No memory for intermediate values.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
