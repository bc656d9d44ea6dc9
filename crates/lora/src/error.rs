//! What can be wrong with the arguments of a LoRA projection.

use device::{DType, DeviceError};
use gemm::GemmError;
use nf4::Nf4Error;

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
    #[error("lora: `{argument}` holds {got} elements, expected {} x {} = {}", .shape[0], .shape[1], .shape[0].saturating_mul(.shape[1]))]
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
    /// A launch computes a few projections at once.
    #[error("lora: {got} projections in one launch, expected 1 to {most}; launch the others by themselves")]
    GroupSize {
        /// Most that a launch takes.
        most: usize,
        /// As given.
        got: usize,
    },
    /// Projections of a group read one input.
    #[error(
        "lora: projection {index} of a group reads an input [{}, {}], the first one [{}, {}]; compute them apart",
        .got[0], .got[1], .expected[0], .expected[1]
    )]
    GroupInput {
        /// Which projection.
        index: usize,
        /// `[num_tokens, in_features]` of the first.
        expected: [usize; 2],
        /// Of this one.
        got: [usize; 2],
    },
    /// The kernels for quantized weights read the others of a launch as they read those.
    #[error(
        "lora: projection {index} of a launch has a weight stored [in_features, out_features] beside quantized ones; launch them apart"
    )]
    GroupLayout {
        /// Which projection.
        index: usize,
    },
    /// Each projection of a launch has a buffer of its own.
    #[error("lora: {got} buffers `{argument}` for {expected} projections")]
    GroupBuffers {
        /// Name of the argument.
        argument: &'static str,
        /// Projections.
        expected: usize,
        /// Buffers.
        got: usize,
    },
    /// A kernel was asked for a type that it does not have.
    #[error("lora: kernels take float32 and bfloat16, got {got}; convert first")]
    KernelDType {
        /// The type.
        got: DType,
    },
    /// A product failed.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// A quantized weight could not be used.
    #[error(transparent)]
    Nf4(#[from] Nf4Error),
    /// No memory for intermediate values, or a launch failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
