//! What a frozen transformer block needs around its products. CPU, slices and sizes; no tensor, no tape.
//!
//! | op | formula | gradient of |
//! |---|---|---|
//! | [`rms_norm`] | `x * rsqrt(mean(x^2) + eps) * w` | `x`, `w` |
//! | [`layer_norm`] | `(x - mean) * rsqrt(var + eps) * w + b` | `x`, `w`, `b` |
//! | [`rope`] | rotation of channel pairs by an angle of the position | `x` |
//! | [`activation`] | `act(x)` | `x` |
//! | [`gated`] | `act(gate) * up` | `gate`, `up` |
//! | [`gated_scaled`] | `act(gate) * up * scale` | `gate`, `up`, `scale` |
//! | [`embedding`] | rows of a table | the table |
//! | [`cross_entropy`] | `-log softmax(logits)[label]`, summed | `logits` |
//! | [`linear_cross_entropy`] | the same of `hidden W^T`, without the logits in memory | `hidden`, `W` |
//! | [`softcap`] | `cap * tanh(x / cap)` | `x` |
//! | [`rows`], [`columns`] | gather and scatter-add | `x` |
//! | [`prepend`] | the same rows before every sequence | the rows, `x` |
//! | [`mean_rows`] | the mean row of every sequence | `x` |
//! | [`elementwise`] | `a + b`, `a / b`, `factor x` | multiples again |
//! | [`broadcast`] | `x + factor row` in every row | sums over rows: `gemm::column_sums` |
//! | [`sums`] | `x . w`, `sum (x - t)^2` | multiples of `w`, of `x - t` |
//!
//! Entry points take sizes and named slices, check that they fit, and return a [`TransformerError`] before they write
//! anything if they do not. Arithmetic is f32; weights are read in the dtype they are stored in.
//! Loops are cut into blocks of fixed size (`device::parallel`) and reductions add their parts in order, so a result does
//! not depend on the number of threads, bit for bit.
//!
//! The functions here are the definition of the result, on slices; [`launch`] has kernels for them, on device buffers.

#![deny(unsafe_code)]

pub mod activation;
mod blocks;
pub mod broadcast;
pub mod columns;
pub mod cross_entropy;
pub mod elementwise;
pub mod embedding;
mod error;
mod functions;
pub mod gated;
pub mod gated_scaled;
mod gradient;
#[expect(unsafe_code, reason = "a launch takes addresses")]
pub mod launch;
pub mod layer_norm;
pub mod linear_cross_entropy;
pub mod mean_rows;
pub mod prepend;
mod reduce;
pub mod rms_norm;
pub mod rope;
mod rope_table;
pub mod rows;
pub mod softcap;
pub mod sums;
#[cfg(test)]
mod testing;
mod widen;

pub use activation::Activation;
pub use error::TransformerError;
pub use gradient::Gradient;
pub use rope_table::RopeTable;

/// Results of this crate.
pub type Result<T, E = TransformerError> = std::result::Result<T, E>;
