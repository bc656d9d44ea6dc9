//! Where a gradient is written.

/// A gradient to write: over what is there, or added to it.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The memory; if `add` is not set, what it holds is never read.
    pub values: &'a mut [f32],
    /// Whether to add to `values`.
    pub add: bool,
}

impl<'a> Gradient<'a> {
    /// Replaces what `values` holds.
    pub fn overwrite(values: &'a mut [f32]) -> Self {
        Self { values, add: false }
    }

    /// Adds to what `values` holds.
    pub fn accumulate(values: &'a mut [f32]) -> Self {
        Self { values, add: true }
    }
}
