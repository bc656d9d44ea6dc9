//! Attention as kernels, on a GPU or emulated: [`crate::forward()`] and [`crate::backward()`] over
//! [`device::launch::DeviceBuffer`]s.
//!
//! Operands, `o` and the gradients of `q`, `k` and `v` are f32 or bf16, one type for all of a call; `softmax_lse` and the
//! gradients of the prefix, which is trained, are f32. Scores, softmax and all sums are f32. bf16 rounds the probabilities
//! and the gradients of the scores before a tensor core multiplies them, and what is stored in bf16.
//!
//! | pass | kernels |
//! |---|---|
//! | forward | one: tiles of queries; one of its own for Hopper, where the operands allow it |
//! | backward | `rowsum(o * grad_o)`; `grad_q` by tiles of queries; `grad_k`, `grad_v` and parts of the prefix's by tiles of keys; the sum of those parts; of a bias by tiles of queries, and the sum of those parts |
//!
//! No two thread blocks add to one number: gradients are the same bits in every run. Keys and values of the prefix are read
//! where they are, by every sequence. A relative bias is expanded once for a [`Batch`]. Heads are padded to 64, 128 or 256 channels
//! within a tile, in memory not at all.

mod backward;
mod batch;
mod bias;
mod forward;
mod grad_bias;
mod hopper;
mod kernels;
mod operands;
mod params;
mod variant;

pub use backward::{Backward, GradKeyValue, backward};
pub use batch::Batch;
pub use bias::RelativeBias;
pub use forward::{Forward, forward};
pub use operands::{Prefix, TokenRows};
