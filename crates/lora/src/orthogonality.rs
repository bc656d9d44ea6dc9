//! How far the rows of a matrix P are from orthonormal, from their Gram matrix `G = P P^T`.
//!
//! ```text
//! norm = |G - I|_F            dnorm/dG = (G - I) / norm
//! ```
//!
//! Source: Zhang et al. 2023, "Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", equation 4, whose norm is
//! squared; PEFT takes its root.

use crate::LoraError;
use crate::shape::check;

/// The norm, whose squares are added in f64. `gram`, `[rank, rank]`, becomes the derivative: zero where the norm is.
///
/// # Errors
/// [`LoraError::Length`].
pub fn orthogonality(rank: usize, gram: &mut [f32]) -> Result<f32, LoraError> {
    check("gram", [rank, rank], gram.len())?;
    gram.iter_mut().step_by(rank + 1).for_each(|diagonal| *diagonal -= 1.0);
    let square: f64 = gram.iter().map(|&difference| f64::from(difference).powi(2)).sum();
    let norm = square.sqrt() as f32;
    // NaN is not zero: it stays.
    gram.iter_mut().for_each(|difference| *difference = if norm == 0.0 { 0.0 } else { *difference / norm });
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut gram = [1.0, 2.0, 2.0, 2.0];
        assert_eq!(orthogonality(2, &mut gram).unwrap(), 3.0);
        assert_eq!(gram, [0.0, 2.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0]);
        let mut identity = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(orthogonality(2, &mut identity).unwrap(), 0.0);
        assert_eq!(identity, [0.0; 4]);
        assert_eq!(orthogonality(0, &mut []).unwrap(), 0.0);
        assert!(orthogonality(1, &mut [f32::NAN]).unwrap().is_nan());
        assert!(matches!(orthogonality(2, &mut [0.0; 3]), Err(LoraError::Length { argument: "gram", .. })));
    }
}
