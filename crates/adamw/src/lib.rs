//! AdamW over one flat buffer, the global gradient norm, and its clipping.
//!
//! Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", in the order of operations of
//! `torch.optim.AdamW`:
//!
//! ```text
//! g     = grad_scale * gradient
//! p     = p * (1 - lr * weight_decay)
//! m     = m + (1 - beta1) * (g - m)
//! v     = beta2 * v + (1 - beta2) * g^2
//! denom = sqrt(v) / sqrt(1 - beta2^step) + epsilon
//! p     = p - lr / (1 - beta1^step) * m / denom
//! ```
//!
//! Everything is f32; the constants are computed in f64 and rounded once, as PyTorch does. Elements do not depend on each
//! other, so a step is the same bit for bit with any number of threads; the norm is summed in f64 in a fixed order. The
//! functions here are the definition of the result, on slices; [`launch`] has the same as kernels, on device buffers.
//!
//! [`step_8bit()`] keeps the moments as 8-bit codes with one scale for each 256: a quarter of their memory. Its parameters, codes
//! and scales are those of bitsandbytes 0.50 on the CPU up to the last place (`tests/bitsandbytes.rs`).

#![deny(unsafe_code)]

mod error;
#[expect(unsafe_code, reason = "a launch takes addresses")]
pub mod launch;
mod norm;
mod outcome;
mod step;
mod step_8bit;

pub use error::AdamWError;
pub use norm::{clip_coefficient, grad_norm};
pub use outcome::Outcome;
pub use step::{AdamW, Group, Step, step};
pub use step_8bit::{Codes, MIN_8BIT_SIZE, Step8bit, num_code_blocks, step_8bit};

/// Results of this crate.
pub type Result<T, E = AdamWError> = std::result::Result<T, E>;
