//! Linear layers in 8-bit integers: weights with one scale for each output channel, activations with one for each token.
//!
//! ```text
//! W = diag(s) Q                s_o = max_k |W_ok| / 127,  Q_ok = round(W_ok / s_o)         held
//! x = diag(t) P                t_i = max_k |x_ik| / 127,  P_ik = round(x_ik / t_i)         for each product
//! y = diag(t) (P Q^T) diag(s) + bias                                                       forward
//! dx = diag(u) (R Q)           of dY diag(s) = diag(u) R, quantized by row as x is         backward
//! ```
//!
//! | argument | shape | dtype |
//! |---|---|---|
//! | `x`, `grad_x` | `[num_tokens, in_features]` | f32 |
//! | `y`, `grad_y` | `[num_tokens, out_features]` | f32 |
//! | codes `Q` | `[out_features, in_features]` | i8, -127 to 127 |
//! | scales `s` | `[out_features]` | f32 |
//!
//! Sums of products of codes are exact in 32 bits up to a depth of [`MAX_DEPTH`], on every instruction set and with any
//! number of threads. What is rounded are the operands, each by at most half its scale, and a sum as it is scaled.
//!
//! Sources: Dettmers et al. 2022, "LLM.int8(): 8-bit matrix multiplication for transformers at scale", for scales by row and
//! column; Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language models", for the
//! backward pass in 8 bits.

mod error;
mod isa;
mod linear;
mod matrix;
mod operand;
mod pack;
mod product;
mod quantize;
#[cfg(test)]
mod tests;

pub use error::Int8Error;
pub use linear::{GradX, Linear, grad_x, linear};
pub use matrix::Int8Matrix;
pub use operand::Operand;
pub use quantize::{dequantize, quantize};

/// Products of codes that a sum of 32 bits always has room for: `MAX_DEPTH 127^2 < 2^31`.
pub const MAX_DEPTH: usize = (1 << 31) / (127 * 127);
