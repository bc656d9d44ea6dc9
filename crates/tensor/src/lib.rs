//! Minimal autograd over the kernel crates.
//!
//! | concept | here |
//! |---|---|
//! | a value with a shape, maybe with a history | [`Tensor`] |
//! | a frozen or trainable matrix that a product reads | [`Weight`] |
//! | a frozen matrix in NormalFloat4 blocks | [`Nf4Matrix`] |
//! | a frozen matrix in 8-bit integers | [`Int8Matrix`] |
//! | what is recorded of an op, and when | [`tape`] |
//! | trainable values in one flat buffer | [`Parameters`] |
//! | their gradients in one flat buffer | [`Gradients`] |
//! | losses of a step, which nobody has waited for | [`Scalars`] |
//! | what recomputed blocks keep on the host | [`Offload`] |
//! | where the sequences of a batch lie | [`Sequences`] |
//! | keys and values of growing texts | [`RowBuffers`] |
//! | one op: formula, forward, backward | [`ops`], a file each |
//!
//! The tape is built as ops run. An op whose inputs need no gradient is not recorded and saves nothing; the gradient of a
//! frozen weight is never computed. An op that has no backward and meets an input that needs one is an error.
//!
//! # Devices
//!
//! A tensor lives on a [`device::Device`], and an op computes where its first operand is: on the CPU with the functions of
//! the kernel crates, elsewhere with what their `launch` modules run. There
//!
//! - activations have the model's type, f32 or bf16; leaves, their gradients, statistics and losses are f32;
//! - an operand reaches a kernel through `Tensor::on_device` in the type that the kernel wants. What is of another type is
//!   converted once and kept until the parameters change: adapters are f32, and kernels take them in the type of the
//!   activations;
//! - a gradient is written through [`Sink::accumulate_on`], which converts it to the type of what it belongs to;
//! - scalars stay on the device: nothing waits for it but [`Tensor::item`] and what copies elements;
//! - an op without a kernel is [`TensorError::NoKernel`]. It is never computed on the CPU instead.
//!
//! [`gradcheck::parity`] compares an op on a device with the CPU.
//!
//! Activations are packed: `[num_tokens, features]`, the sequences of a batch one after another, no padding.

#![forbid(unsafe_code)]

mod backward;
mod convert;
mod error;
pub mod gradcheck;
mod gradients;
mod int8_matrix;
mod kernel_error;
mod nf4_matrix;
mod nf4_memory;
mod nf4_parts;
mod offload;
pub mod ops;
mod parameters;
mod row_buffers;
mod saved;
mod scalars;
mod sequences;
mod several;
mod shape;
mod storage;
pub mod tape;
mod tensor;
mod weight;

use device::launch::Built;

pub use backward::{Sink, backward};
pub use error::TensorError;
pub use gradients::Gradients;
pub use int8_matrix::Int8Matrix;
pub use kernel_error::KernelError;
pub use nf4_matrix::Nf4Matrix;
pub use nf4_parts::{Nf4Absmax, Nf4Parts};
pub use offload::Offload;
pub use parameters::Parameters;
pub use prefix_attention::{AttentionSpec, RelativeBuckets};
pub use row_buffers::RowBuffers;
pub use scalars::Scalars;
pub use sequences::Sequences;
pub use shape::Shape;
pub use storage::Read;
pub use tape::{Mode, no_grad};
pub use tensor::Tensor;
pub use transformer::{Activation, RopeTable, cross_entropy::LossSum};
pub use weight::{Layout, Weight};

/// For which GPUs the kernels were built, in words.
///
/// # Errors
/// Why the build left them out.
pub fn kernels() -> Result<&'static str, &'static str> {
    match gemm::launch::built() {
        Built::Fatbin { architectures, .. } => Ok(architectures),
        Built::Not { reason } => Err(reason),
    }
}

/// A result of this crate.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;
