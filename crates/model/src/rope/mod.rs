//! Rotary position embedding: which frequencies a model rotates by.
//!
//! Channel pair `j` of a head is rotated by `position * inv_freq[j]`, and cosines and sines are multiplied by the scaling's
//! attention factor. Source: Su et al. 2021, "RoFormer". The scalings that stretch it to longer texts have a file each.
//!
//! Where frequencies depend on the length of the text (dynamic, longrope), each sequence has those of its own length. In
//! transformers the longest row of a padded batch decides for all of its rows, and dynamic scaling remembers the longest
//! batch so far; then a row's loss depends on its neighbours and on what was computed before, on the batch size of an
//! evaluation and on how rows are packed. The two agree where no row is longer than the trained length and, in a fresh model,
//! where all rows of a batch are equally long.
//!
//! All numbers are rounded as transformers rounds them: the exponent, the power, its reciprocal and the angle are f32
//! values each, because at position 10^4 the rounding of an angle already shows in the logits.

mod config;
mod default;
mod dynamic;
mod linear;
mod llama3;
mod longrope;
mod tables;
mod yarn;

pub use config::{RopeConfig, RopeScaling};
pub(crate) use config::{RopeContext, flat_parameters};
pub use dynamic::Dynamic;
pub use linear::Linear;
pub use llama3::Llama3;
pub use longrope::Longrope;
pub(crate) use tables::{RopeRows, RopeTables};
pub use yarn::Yarn;

/// What a sequence is rotated by.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// Radians per position, one for each channel pair.
    pub inv_freq: Vec<f32>,
    /// Factor of cosines and sines.
    pub attention_factor: f32,
}
