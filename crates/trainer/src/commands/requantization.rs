//! What quantizing a merged model again would cost, beside what the adapter changed.

use std::fmt;

use device::DType;
use tensor::{Nf4Matrix, Tensor};

use crate::Error;

/// Sums of squares over merged weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requantization {
    weights: f64,
    changes: f64,
    errors: f64,
}

impl Requantization {
    /// Notes a weight before and after it was merged.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn add(&mut self, before: &[f32], after: &[f32]) -> Result<(), Error> {
        let merged = Tensor::from_f32([1, after.len()], after)?;
        let again = Nf4Matrix::quantize(&merged, DType::F32, true)?.dequantize()?.to_vec();
        let squares = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        self.weights += after.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        self.changes += squares(before, after);
        self.errors += squares(&again, after);
        Ok(())
    }
}

impl fmt::Display for Requantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |squares: f64| if self.weights > 0.0 { 100.0 * (squares / self.weights).sqrt() } else { 0.0 };
        write!(
            f,
            "the base was held in nf4: its dequantized weights were merged and are written in full precision; quantizing \
             them again would move them by {:.2} % (root mean square), and the adapter moved them by {:.2} %",
            share(self.errors),
            share(self.changes)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shares_are_of_the_merged_weights() {
        let mut sums = Requantization::default();
        assert!(sums.to_string().contains("by 0.00 % (root mean square), and the adapter moved them by 0.00 %"));
        // Numbers that blocks hold exactly: the largest of each block, and zeros.
        sums.add(&[0.0, 0.0, 3.0, 0.0], &[0.0, 0.0, 4.0, 0.0]).unwrap();
        assert!(
            sums.to_string().contains("by 0.00 % (root mean square), and the adapter moved them by 25.00 %"),
            "{sums}"
        );
        sums.add(&[1.0, 0.85], &[1.0, 0.85]).unwrap();
        assert!(sums.errors > 0.0);
    }
}
