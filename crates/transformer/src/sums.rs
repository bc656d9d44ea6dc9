//! Sums of all elements, accumulated in f64.
//!
//! ```text
//! inner_product:  sum_i x_i w_i
//! squared_error:  sum_i d_i^2 with d_i = x_i - target_i
//! ```
//!
//! Their gradients are multiples of `w` and of `d`: [`crate::elementwise::scale`].

use crate::Result;
use crate::error::check_len;

/// The inner product of `x` and `weights`.
///
/// # Errors
/// [`crate::TransformerError::Length`] unless there are as many of both.
pub fn inner_product(x: &[f32], weights: &[f32]) -> Result<f64> {
    check_len("inner_product", "weights", &[x.len()], weights.len())?;
    Ok(x.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum())
}

/// Writes `x - targets` to `differences`, and returns the sum of their squares.
///
/// # Errors
/// As [`inner_product`].
pub fn squared_error(x: &[f32], targets: &[f32], differences: &mut [f32]) -> Result<f64> {
    check_len("squared_error", "targets", &[x.len()], targets.len())?;
    check_len("squared_error", "differences", &[x.len()], differences.len())?;
    differences.iter_mut().zip(x.iter().zip(targets)).for_each(|(difference, (x, target))| *difference = x - target);
    Ok(differences.iter().map(|&difference| f64::from(difference).powi(2)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransformerError;

    #[test]
    fn known_values() {
        assert_eq!(inner_product(&[1.0, 2.0, 3.0], &[4.0, -5.0, 0.5]).unwrap(), -4.5);
        let mut differences = [f32::NAN; 2];
        assert_eq!(squared_error(&[1.0, 4.0], &[3.0, 1.0], &mut differences).unwrap(), 13.0);
        assert_eq!(differences, [-2.0, 3.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = squared_error(&[1.0], &[1.0, 2.0], &mut [0.0]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "targets", expected: 1, got: 2, .. })));
    }
}
