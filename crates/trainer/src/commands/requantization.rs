//! What quantizing a merged model again would cost, beside what the adapter changed.

use std::fmt;

/// Sums of squares over merged weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requantization {
    weights: f64,
    changes: f64,
    errors: f64,
}

impl Requantization {
    /// Notes a weight before and after it was merged, and what it would be after it was quantized again.
    pub(super) fn add(&mut self, before: &[f32], after: &[f32], again: &[f32]) {
        let squares = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        self.weights += after.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        self.changes += squares(before, after);
        self.errors += squares(again, after);
    }
}

impl fmt::Display for Requantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |squares: f64| if self.weights > 0.0 { 100.0 * (squares / self.weights).sqrt() } else { 0.0 };
        write!(
            f,
            "the base was held in nf4: its dequantized weights were merged and are written in full precision; quantizing \
             them again, their scales too, would move them by {:.2} % (root mean square), and the adapter moved them by {:.2} %",
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
        sums.add(&[0.0, 0.0, 3.0, 0.0], &[0.0, 0.0, 4.0, 0.0], &[0.0, 0.0, 4.0, 0.0]);
        assert!(
            sums.to_string().contains("by 0.00 % (root mean square), and the adapter moved them by 25.00 %"),
            "{sums}"
        );
        // Of weights whose squares are 16 + 9.
        sums.add(&[3.0], &[3.0], &[3.5]);
        assert!(
            sums.to_string().contains("by 10.00 % (root mean square), and the adapter moved them by 20.00 %"),
            "{sums}"
        );
    }
}
