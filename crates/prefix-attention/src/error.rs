//! What can be wrong with a call.

use device::{DType, DeviceError};

/// Errors of attention. Nothing is written to an output when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttentionError {
    /// Query heads do not share key/value heads evenly.
    #[error("attention: {num_heads} heads do not divide into groups over {num_kv_heads} key/value heads")]
    Heads {
        /// Query heads.
        num_heads: usize,
        /// Key and value heads.
        num_kv_heads: usize,
    },
    /// A head without elements.
    #[error("attention: head_dim is 0, expected at least 1")]
    HeadDim,
    /// A factor that makes every score meaningless.
    #[error("attention: {argument} is {value}, expected a finite number{}", if *.positive { " above 0" } else { "" })]
    Factor {
        /// `softmax_scale` or `softcap`.
        argument: &'static str,
        /// As given.
        value: f32,
        /// Whether it has to be positive.
        positive: bool,
    },
    /// A window that looks both ways, or that holds nothing.
    #[error("attention: a sliding window of {window} needs causal = true and at least one key")]
    Window {
        /// Keys that a query sees, itself included.
        window: usize,
    },
    /// Buckets of relative positions that cannot be told apart by a logarithm.
    #[error(
        "attention: {num_buckets} buckets of relative positions in {} up to a distance of {max_distance}, expected at least 2 buckets for each direction and a distance above half of them",
        if *.bidirectional { "both directions" } else { "one direction" }
    )]
    Buckets {
        /// Buckets of both directions together.
        num_buckets: usize,
        /// The distance from which on all share a bucket.
        max_distance: usize,
        /// Whether keys behind the query have buckets of their own.
        bidirectional: bool,
    },
    /// A bias by distance on scores that are bounded.
    #[error("attention: a relative bias and softcap = {softcap} together: which of them comes first is not defined")]
    BiasWithSoftcap {
        /// The bound.
        softcap: f32,
    },
    /// The starts of the packed sequences do not begin at 0 or do not ascend.
    #[error("attention: {argument}[{index}] is {got}, expected {expected}")]
    Starts {
        /// `cu_seqlens_q` or `cu_seqlens_kv`.
        argument: &'static str,
        /// Which start.
        index: usize,
        /// What it must be.
        expected: String,
        /// What it is.
        got: u32,
    },
    /// Starts of another number of sequences.
    #[error("attention: cu_seqlens_q holds {q} starts and cu_seqlens_kv {kv}; expected as many, num_sequences + 1")]
    StartsCount {
        /// Starts of query sequences.
        q: usize,
        /// Starts of key/value sequences.
        kv: usize,
    },
    /// A slice does not hold the elements it is said to hold.
    #[error("attention: `{argument}` holds {got} elements, expected {expected}")]
    Length {
        /// The argument.
        argument: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements it has.
        got: usize,
    },
    /// Rows of an argument would overlap.
    #[error(
        "attention: rows of `{argument}` are {row_stride} elements apart, expected at least num_heads x head_dim = {row_len}"
    )]
    RowStride {
        /// The argument.
        argument: &'static str,
        /// As given.
        row_stride: usize,
        /// Elements of a row.
        row_len: usize,
    },
    /// The shape has a prefix and the arguments have none.
    #[error("attention: the shape has prefix_len = {prefix_len}, and no prefix keys and values were given")]
    PrefixMissing {
        /// Prefix keys of the shape.
        prefix_len: usize,
    },
    /// A size whose product does not fit the address space.
    #[error("attention: {num_tokens} tokens of {row_len} elements are more than memory can address")]
    TooLarge {
        /// Tokens.
        num_tokens: usize,
        /// Elements of a token.
        row_len: usize,
    },
    /// The kernels know f32 and bf16.
    #[error("attention: kernels take float32 or bfloat16, got {got}; convert the operands")]
    KernelDType {
        /// As given.
        got: DType,
    },
    /// A head that is longer than the kernels' largest tile.
    #[error("attention: head_dim is {head_dim}, the kernels take up to {max}; use cpu")]
    KernelHeadDim {
        /// Elements of a head.
        head_dim: usize,
        /// The kernels' largest.
        max: u32,
    },
    /// Memory for the working set could not be had, or a launch failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
