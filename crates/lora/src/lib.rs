//! Fused LoRA projection: `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`, forward and backward.
//!
//! Source: Hu et al. 2021, "LoRA", section 4.1; `scaling = alpha / rank`. Names and the place of the dropout are PEFT's.
//!
//! | argument | shape | dtype |
//! |---|---|---|
//! | `x` | `[num_tokens, in_features]` | f32 |
//! | `weight` | `[out_features, in_features]`, or the transpose of the contrary | f32, bf16 or f16, frozen |
//! | `bias` | `[out_features]` | f32, bf16 or f16 |
//! | `lora_a` | `[rank, in_features]` | f32 |
//! | `lora_b` | `[out_features, rank]` | f32 |
//! | `lora_bias` | `[out_features]` | f32 |
//! | `s = scaling drop(x) A^T`, saved | `[num_tokens, rank]` | f32 |
//!
//! Gradients, for a loss whose gradient by `y` is `dY`; the base's bias has the column sums of `dY`
//! ([`gemm::column_sums`]):
//!
//! ```text
//! dS = scaling dY B            dX = dY W + mask / (1 - p) (dS A)
//! dA = dS^T drop(x)            dB = dY^T s                    dlora_bias = scaling 1^T dY
//! ```
//!
//! All sums are in f32, with the error bound of the [`gemm`] crate. The dropout mask is a function of the element's
//! position, so it is drawn again in the backward pass and never stored.
//!
//! The functions here are the definition of the result, on slices; [`launch`] has kernels for them, on device buffers.

#![deny(unsafe_code)]

mod adapter;
mod backward;
pub mod dora;
mod dropout;
mod error;
mod forward;
mod input;
#[expect(unsafe_code, reason = "a launch takes addresses")]
pub mod launch;
mod orthogonality;
mod shape;

pub use adapter::Adapter;
pub use backward::{Backward, Saved, grad_x};
pub use dropout::Dropout;
pub use error::LoraError;
pub use forward::{Forward, forward};
pub use input::Input;
pub use orthogonality::orthogonality;
pub use shape::LoraShape;

#[cfg(test)]
mod tests;
