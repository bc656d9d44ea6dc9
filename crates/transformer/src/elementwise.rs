//! Sums, quotients and multiples of single elements.
//!
//! ```text
//! y = a + b      y = a / b      y = factor * x, or that added to y
//! ```
//!
//! Each operation is rounded by itself. A multiple reads any dtype: with a factor of 1 it widens.

use device::{Element, Elements, parallel};

use crate::blocks::ELEMENTS;
use crate::error::check_len;
use crate::{Gradient, Result};

/// `y = a + b`.
///
/// # Errors
/// [`crate::TransformerError::Length`] unless all are as long as `y`.
pub fn add(a: &[f32], b: &[f32], y: &mut [f32]) -> Result<()> {
    combine("add", a, b, y, |a, b| a + b)
}

/// `y = a / b`.
///
/// # Errors
/// As [`add`].
pub fn divide(a: &[f32], b: &[f32], y: &mut [f32]) -> Result<()> {
    combine("divide", a, b, y, |a, b| a / b)
}

/// `y /= b`.
///
/// # Errors
/// As [`add`].
pub fn divide_in_place(b: &[f32], y: &mut [f32]) -> Result<()> {
    check_len("divide", "b", &[y.len()], b.len())?;
    y.iter_mut().zip(b).for_each(|(y, b)| *y /= b);
    Ok(())
}

fn combine(op: &'static str, a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) -> Result<()> {
    check_len(op, "a", &[y.len()], a.len())?;
    check_len(op, "b", &[y.len()], b.len())?;
    parallel::rows_mut(y, 1, ELEMENTS, |start, y| {
        let operands = a[start..].iter().zip(&b[start..]);
        y.iter_mut().zip(operands).for_each(|(y, (&a, &b))| *y = f(a, b));
    });
    Ok(())
}

/// `y = factor * x`, or that added to `y`.
///
/// # Errors
/// As [`add`].
pub fn scale(factor: f32, x: Elements<'_>, y: Gradient<'_>) -> Result<()> {
    let Gradient { values, add } = y;
    check_len("scale", "x", &[values.len()], x.len())?;
    parallel::rows_mut(values, 1, ELEMENTS, |start, y| match x {
        Elements::F32(x) => multiples(factor, &x[start..], y, add),
        Elements::BF16(x) => multiples(factor, &x[start..], y, add),
        Elements::F16(x) => multiples(factor, &x[start..], y, add),
    });
    Ok(())
}

fn multiples<T: Element>(factor: f32, x: &[T], y: &mut [f32], add: bool) {
    let each = y.iter_mut().zip(x);
    if add {
        each.for_each(|(y, x)| *y += factor * x.to_f32());
    } else {
        each.for_each(|(y, x)| *y = factor * x.to_f32());
    }
}

/// `y *= factor`.
pub fn scale_in_place(factor: f32, y: &mut [f32]) {
    parallel::rows_mut(y, 1, ELEMENTS, |_, y| y.iter_mut().for_each(|y| *y *= factor));
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::TransformerError;

    #[test]
    fn known_values() {
        let (a, b) = ([1.0, -6.0, 0.5], [2.0, 3.0, -0.25]);
        let mut y = [f32::NAN; 3];
        add(&a, &b, &mut y).unwrap();
        assert_eq!(y, [3.0, -3.0, 0.25]);
        divide(&a, &b, &mut y).unwrap();
        assert_eq!(y, [0.5, -2.0, -2.0]);
        divide_in_place(&[0.5, -2.0, 4.0], &mut y).unwrap();
        assert_eq!(y, [1.0, 1.0, -0.5]);
        scale(2.0, Elements::F32(&a), Gradient::overwrite(&mut y)).unwrap();
        assert_eq!(y, [2.0, -12.0, 1.0]);
        scale(-1.0, Elements::BF16(&a.map(bf16::from_f32)), Gradient::accumulate(&mut y)).unwrap();
        scale(1.0, Elements::F16(&a.map(f16::from_f32)), Gradient::accumulate(&mut y)).unwrap();
        scale_in_place(0.5, &mut y);
        assert_eq!(y, [1.0, -6.0, 0.5]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = add(&[1.0], &[1.0, 2.0], &mut [0.0; 2]);
        assert!(matches!(refused, Err(TransformerError::Length { op: "add", argument: "a", expected: 2, got: 1 })));
        let refused = scale(1.0, Elements::F32(&[1.0; 3]), Gradient::overwrite(&mut [0.0; 2]));
        assert!(matches!(refused, Err(TransformerError::Length { op: "scale", argument: "x", .. })));
    }
}
