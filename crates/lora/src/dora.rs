//! The norms of the rows of a weight with a low-rank update, which is never formed.
//!
//! ```text
//! norm[o]^2 = |W[o]|^2 + 2 s B[o] . (A W^T)[:, o] + s^2 B[o] . (B (A A^T))[o]
//! ```
//!
//! The first term stays the same through training; the others take products with r rows. Sums are f64.
//!
//! Source: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", section 4.1.

use device::{Element, Elements, parallel};

use crate::LoraError;
use crate::shape::check;

/// `|W[o]|^2` of a weight `[outputs, inputs]`: one for each element of `squares`.
///
/// # Errors
/// [`LoraError::Length`] unless the weight is whole rows.
pub fn row_squares(weight: Elements<'_>, squares: &mut [f64]) -> Result<(), LoraError> {
    let inputs = inputs(weight, squares)?;
    parallel::rows_mut(squares, 1, 1, |row, squares| {
        for (row, sum) in (row..).zip(squares) {
            *sum = match weight.slice(row * inputs, inputs) {
                Elements::F32(row) => row.iter().map(square).sum(),
                Elements::BF16(row) => row.iter().map(square).sum(),
                Elements::F16(row) => row.iter().map(square).sum(),
            };
        }
    });
    Ok(())
}

/// The same of a weight stored `[inputs, outputs]`.
///
/// # Errors
/// As [`row_squares`].
pub fn column_squares(weight: Elements<'_>, squares: &mut [f64]) -> Result<(), LoraError> {
    let (inputs, outputs) = (inputs(weight, squares)?, squares.len());
    squares.fill(0.0);
    for row in 0..inputs {
        match weight.slice(row * outputs, outputs) {
            Elements::F32(row) => add_squares(row, squares),
            Elements::BF16(row) => add_squares(row, squares),
            Elements::F16(row) => add_squares(row, squares),
        }
    }
    Ok(())
}

fn inputs(weight: Elements<'_>, squares: &[f64]) -> Result<usize, LoraError> {
    let inputs = weight.len() / squares.len().max(1);
    check("weight", [squares.len(), inputs], weight.len())?;
    Ok(inputs)
}

fn square<T: Element>(value: &T) -> f64 {
    f64::from(value.to_f32()).powi(2)
}

fn add_squares<T: Element>(row: &[T], sums: &mut [f64]) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += square(value));
}

/// Arguments of [`norms`].
#[derive(Debug)]
pub struct Norms<'a> {
    /// `|W[o]|^2`, `[outputs]`.
    pub squares: &'a [f64],
    /// `B`, `[outputs, rank]`.
    pub lora_b: &'a [f32],
    /// `A W^T`, `[rank, outputs]`.
    pub aw: &'a [f32],
    /// `B (A A^T)`, `[outputs, rank]`.
    pub bg: &'a [f32],
    /// s.
    pub scaling: f32,
    /// `[outputs]`, overwritten.
    pub norms: &'a mut [f32],
}

/// The norms for an update of rank `rank`.
///
/// # Errors
/// [`LoraError::Length`].
pub fn norms(rank: usize, args: Norms<'_>) -> Result<(), LoraError> {
    let Norms { squares, lora_b, aw, bg, scaling, norms } = args;
    let outputs = squares.len();
    check("lora_b", [outputs, rank], lora_b.len())?;
    check("aw", [rank, outputs], aw.len())?;
    check("bg", [outputs, rank], bg.len())?;
    check("norms", [1, outputs], norms.len())?;
    let s = f64::from(scaling);
    for (output, norm) in norms.iter_mut().enumerate() {
        let b = &lora_b[output * rank..][..rank];
        let dot = |other: &dyn Fn(usize) -> f32| -> f64 {
            b.iter().enumerate().map(|(k, b)| f64::from(*b) * f64::from(other(k))).sum()
        };
        let cross = dot(&|k| aw[k * outputs + output]);
        let update = dot(&|k| bg[output * rank + k]);
        let sum = squares[output] + 2.0 * s * cross + s * s * update;
        // Rounding may leave less than nothing of a row that the update cancels; NaN stays NaN.
        *norm = if sum < 0.0 { 0.0 } else { sum.sqrt() as f32 };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let weight = [3.0, 4.0, 1.0, 2.0];
        let mut squares = [f64::NAN; 2];
        row_squares(Elements::F32(&weight), &mut squares).unwrap();
        assert_eq!(squares, [25.0, 5.0]);
        column_squares(Elements::F32(&weight), &mut squares).unwrap();
        assert_eq!(squares, [10.0, 20.0]);
        // W = [[3, 4], [1, 2]], B A = [[1], [-1]] [[1, 2]], s = 2: the rows are [5, 8] and [-1, -2].
        let mut found = [f32::NAN; 2];
        let args = Norms {
            squares: &[25.0, 5.0],
            lora_b: &[1.0, -1.0],
            aw: &[11.0, 5.0],
            bg: &[5.0, -5.0],
            scaling: 2.0,
            norms: &mut found,
        };
        norms(1, args).unwrap();
        assert_eq!(found, [89f32.sqrt(), 5f32.sqrt()]);
    }

    #[test]
    fn a_row_that_is_cancelled_has_no_norm_and_nan_stays() {
        let mut found = [f32::NAN; 2];
        let args = Norms {
            squares: &[1.0, f64::NAN],
            lora_b: &[1.0, 1.0],
            aw: &[-1.0, 0.0],
            bg: &[0.999_999_9, 0.0],
            scaling: 1.0,
            norms: &mut found,
        };
        norms(1, args).unwrap();
        assert!(found[0] == 0.0 && found[1].is_nan(), "{found:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = row_squares(Elements::F32(&[0.0; 5]), &mut [0.0; 2]);
        assert!(matches!(refused, Err(LoraError::Length { argument: "weight", shape: [2, 2], got: 5 })));
        let (squares, mut found) = ([0.0; 2], [0.0; 2]);
        let args = Norms {
            squares: &squares,
            lora_b: &[0.0; 2],
            aw: &[0.0; 3],
            bg: &[0.0; 2],
            scaling: 1.0,
            norms: &mut found,
        };
        assert!(matches!(norms(1, args), Err(LoraError::Length { argument: "aw", shape: [1, 2], got: 3 })));
    }
}
