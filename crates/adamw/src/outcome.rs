//! What came of the steps so far, for a host that looks now and then.

use crate::clip_coefficient;

/// The norm and the losses of the latest step, and whether it was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The norm of the latest step's gradients, or of the first step that failed.
    pub norm: f64,
    /// The sum of its losses.
    pub loss: f64,
    /// Steps since the first of which a loss or the norm was no number, it included; 0 if there was none. None of them changed
    /// anything.
    pub failed: u64,
}

impl Outcome {
    /// After a step with gradients of norm `norm`, and `losses`. What came after a step that failed is not told.
    #[must_use]
    pub fn next(self, norm: f64, losses: &[f32]) -> Self {
        if self.failed > 0 {
            return Self { failed: self.failed + 1, ..self };
        }
        let is_finite = (norm as f32).is_finite() && losses.iter().all(|loss| loss.is_finite());
        let loss = losses.iter().map(|&loss| f64::from(loss)).sum();
        Self { norm, loss, failed: u64::from(!is_finite) }
    }

    /// The factor of the step's gradients, by which none is longer than `max_norm`: NaN, with which nothing is changed, from the
    /// first step on that failed.
    pub fn grad_scale(&self, max_norm: f32) -> f32 {
        if self.failed == 0 { clip_coefficient(self.norm, max_norm) } else { f32::NAN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_kept() {
        let good = Outcome::default().next(4.0, &[1.0, 0.5]);
        assert_eq!((good, good.grad_scale(2.0)), (Outcome { norm: 4.0, loss: 1.5, failed: 0 }, 2.0 / 4.000_001));
        for (norm, loss) in [(f64::INFINITY, 1.0), (1e39, 1.0), (1.0, f32::NEG_INFINITY)] {
            let failed = good.next(norm, &[2.0, loss]);
            assert_eq!((failed.norm, failed.failed), (norm, 1));
            assert_eq!(failed.next(1.0, &[1.0]), Outcome { failed: 2, ..failed });
            assert!(failed.grad_scale(1.0).is_nan() && failed.next(1.0, &[]).grad_scale(1.0).is_nan());
        }
    }
}
