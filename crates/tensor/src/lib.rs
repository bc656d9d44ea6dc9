//! Minimal autograd over the kernel crates.
//!
//! | concept | here |
//! |---|---|
//! | a value with a shape, maybe with a history | [`Tensor`] |
//! | a frozen or trainable matrix that a product reads | [`Weight`] |
//! | a frozen matrix in NormalFloat4 blocks | [`Nf4Matrix`] |
//! | what is recorded of an op, and when | [`tape`] |
//! | trainable values in one flat buffer | [`Parameters`] |
//! | their gradients in one flat buffer | [`Gradients`] |
//! | where the sequences of a batch lie | [`Sequences`] |
//! | keys and values of a growing text | [`RowBuffer`] |
//! | one op: formula, forward, backward | [`ops`], a file each |
//!
//! The tape is built as ops run. An op whose inputs need no gradient is not recorded and saves nothing; the gradient of a
//! frozen weight is never computed. An op that has no backward and meets an input that needs one is an error.
//!
//! Activations are packed: `[num_tokens, features]`, the sequences of a batch one after another, no padding.

#![forbid(unsafe_code)]

mod backward;
mod error;
pub mod gradcheck;
mod gradients;
mod kernel_error;
mod nf4_matrix;
pub mod ops;
mod parameters;
mod row_buffer;
mod sequences;
mod shape;
mod storage;
pub mod tape;
mod tensor;
mod weight;

pub use backward::{Sink, backward};
pub use error::TensorError;
pub use gradients::Gradients;
pub use kernel_error::KernelError;
pub use nf4_matrix::{Nf4Absmax, Nf4Matrix, Nf4Parts};
pub use parameters::Parameters;
pub use prefix_attention::{AttentionSpec, RelativeBuckets};
pub use row_buffer::RowBuffer;
pub use sequences::Sequences;
pub use shape::Shape;
pub use storage::Read;
pub use tape::{Mode, no_grad};
pub use tensor::Tensor;
pub use transformer::{Activation, RopeTable, cross_entropy::LossSum};
pub use weight::{Layout, Weight};

/// A result of this crate.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;
