//! Learned scaling of channels: `y[t, c] = x[t, c] ia3_l[c]`.
//!
//! | argument | shape | dtype |
//! |---|---|---|
//! | `x`, `y` | `[num_tokens, features]` | f32 |
//! | `ia3_l` | `[features]` | f32 |
//!
//! Gradients: `dx[t, c] = dy[t, c] ia3_l[c]`, `dia3_l[c] = sum_t dy[t, c] x[t, c]`.
//!
//! Source: Liu et al. 2022, "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning",
//! section 3.3. Keys and values are scaled after their projection, bias included; the feed-forward block before its last.
//!
//! Products are exact to half a unit of the last place. A column sum adds [`ROWS`] products at a time in order, then these
//! sums in order, in f32: its error is at most `(ROWS + num_tokens / ROWS) 2^-24` of the sum of magnitudes, and does not
//! depend on the number of threads.
//!
//! The functions here are the definition of the result, on slices; [`launch`] has the same as kernels, on device buffers.

#![deny(unsafe_code)]

mod backward;
mod error;
mod forward;
#[expect(unsafe_code, reason = "a launch takes addresses")]
pub mod launch;

pub use backward::{Backward, backward};
pub use error::Ia3Error;
pub use forward::{Forward, forward};

/// Tokens that one task takes: fixed, so that sums do not depend on the number of threads.
pub const ROWS: usize = 64;

/// Sizes of one scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ia3Shape {
    /// Tokens of all sequences.
    pub num_tokens: usize,
    /// Channels.
    pub features: usize,
}

impl Ia3Shape {
    /// Checks the length of a `[num_tokens, features]` argument.
    fn check_tokens(&self, argument: &'static str, got: usize) -> Result<(), Ia3Error> {
        // Saturated, the product is no slice's length.
        check_len(argument, self.num_tokens.saturating_mul(self.features), got)
    }

    /// Checks the length of a `[features]` argument.
    fn check_channels(&self, argument: &'static str, got: usize) -> Result<(), Ia3Error> {
        check_len(argument, self.features, got)
    }
}

fn check_len(argument: &'static str, expected: usize, got: usize) -> Result<(), Ia3Error> {
    if got == expected { Ok(()) } else { Err(Ia3Error::Length { argument, expected, got }) }
}

#[cfg(test)]
mod tests;
