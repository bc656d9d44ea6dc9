//! Long short-term memory over one sequence: the recurrence of one direction, forward and backward.
//!
//! Source: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", with the forget gate of Gers et al. 2000. Names and the
//! order of the gates, `i f g o`, are those of `torch.nn.LSTM`.
//!
//! ```text
//! [i f g o] = x_t W_ih^T + b_ih + b_hh + h_prev W_hh^T       i, f, o through sigmoid, g through tanh
//! c_t = f c_prev + i g                                       h_t = o tanh(c_t)
//! ```
//!
//! `prev` is the step before, or the step after where the sequence is read in reverse; both states start at zero. What the
//! inputs contribute does not depend on the states, so it comes as one product for all steps, made by the caller:
//!
//! | argument | shape |
//! |---|---|
//! | `input_gates = x W_ih^T + b_ih + b_hh` | `[num_steps, 4 * hidden_size]` |
//! | `weight_hh` | `[4 * hidden_size, hidden_size]` |
//! | `h` | `[num_steps, hidden_size]` |
//! | `gates` (after sigmoid and tanh), saved | `[num_steps, 4 * hidden_size]` |
//! | `cells`, saved | `[num_steps, hidden_size]` |
//!
//! Gradients, with the steps taken the other way round:
//!
//! ```text
//! dh_t = dy_t + dgates_next W_hh          dc_t = dc_next f_next + dh_t o (1 - tanh^2 c_t)
//! do = dh_t tanh(c_t) o (1 - o)           di = dc_t g i (1 - i)
//! dg = dc_t i (1 - g^2)                   df = dc_t c_prev f (1 - f)
//! dW_hh = sum_t dgates_t^T h_prev
//! ```
//!
//! The functions here are the definition of the result, on slices; [`launch`] has kernels for them, on device buffers.
//!
//! All in f32; values and gradients agree with an f64 evaluation within 2e-6 of the largest for a few dozen steps
//! (`src/tests.rs`).

#![deny(unsafe_code)]

mod backward;
mod error;
mod forward;
#[expect(unsafe_code, reason = "a launch takes addresses")]
pub mod launch;
mod shape;
#[cfg(test)]
mod tests;

pub use backward::{Backward, Saved};
pub use error::LstmError;
pub use forward::{Forward, forward};
pub use shape::LstmShape;
