//! What can be wrong with the arguments of an op.

use device::{DType, DeviceError};
use gemm::GemmError;

/// Errors of the ops. Nothing has been written when one is returned, unless memory ran out half-way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransformerError {
    /// A slice does not hold what the shape says.
    #[error("{op}: `{argument}` holds {got} elements, expected {expected}")]
    Length {
        /// The op.
        op: &'static str,
        /// The argument.
        argument: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A kernel was asked for a type that it does not have.
    #[error("{op}: kernels take float32 and bfloat16, got {got}; convert first")]
    KernelDType {
        /// The op.
        op: &'static str,
        /// The type.
        got: DType,
    },
    /// A token id is not in the vocabulary.
    #[error("token {index} has id {id}, but the embedding has {rows} rows; does the tokenizer belong to this model?")]
    TokenId {
        /// Position of the token.
        index: usize,
        /// Its id.
        id: u32,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// A label is neither ignored nor in the vocabulary.
    #[error("label {label} of token {index} is not in 0..{vocab_size}; use -100 for tokens that are not trained on")]
    Label {
        /// Position of the token.
        index: usize,
        /// Its label.
        label: i64,
        /// Columns of the logits.
        vocab_size: usize,
    },
    /// A position has no row in the rotary tables.
    #[error(
        "token {index} stands at position {position}, but the rotary tables end at {max_positions}; lower max_length"
    )]
    Position {
        /// Index of the token.
        index: usize,
        /// Its position.
        position: u32,
        /// Rows of the tables.
        max_positions: usize,
    },
    /// The rotary channels do not fit the heads.
    #[error("rotary dimension {rotary_dim} must be even, not 0 and at most the head dimension {head_dim}")]
    RotaryDim {
        /// Channels that rotate.
        rotary_dim: usize,
        /// Channels of a head.
        head_dim: usize,
    },
    /// A row to gather is not there.
    #[error("{op}: index {index} asks for row {row} of {rows}")]
    Row {
        /// The op.
        op: &'static str,
        /// Where the row is asked for.
        index: usize,
        /// The row.
        row: u32,
        /// Rows there are.
        rows: usize,
    },
    /// A block of columns is not there.
    #[error("columns {start}..{end} do not lie in 0..{columns}")]
    Columns {
        /// First column.
        start: usize,
        /// After the last one.
        end: usize,
        /// Columns there are.
        columns: usize,
    },
    /// Starts of packed sequences that do not rise from 0.
    #[error("{op}: the starts of the sequences do not rise from 0")]
    Starts {
        /// The op.
        op: &'static str,
    },
    /// The name is not an activation function that is known here.
    #[error("activation `{name}` is unknown; known are {known}")]
    UnknownActivation {
        /// As given.
        name: String,
        /// The known names.
        known: String,
    },
    /// A soft cap that caps nothing or everything.
    #[error("a logit soft cap must be positive and finite, got {cap}")]
    Softcap {
        /// As given.
        cap: f32,
    },
    /// A product refused its operands.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// Scratch memory could not be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Checks that `got` elements are what `sizes` multiply to.
pub(crate) fn check_len(op: &'static str, argument: &'static str, sizes: &[usize], got: usize) -> crate::Result<()> {
    // A product that overflows is larger than any slice.
    let expected = sizes.iter().fold(1usize, |product, &size| product.saturating_mul(size));
    if expected == got { Ok(()) } else { Err(TransformerError::Length { op, argument, expected, got }) }
}
