//! Soft cap of scores or logits (Gemma 2).
//!
//! ```text
//! y  = cap * tanh(x / cap)
//! dx = dy * (1 - tanh(x / cap)^2)
//! ```

use device::simd::{Isa, Kernel, dispatch};
use device::{math, parallel};

use crate::blocks::ELEMENTS;
use crate::error::check_len;
use crate::{Result, TransformerError};

/// Refuses a cap that is not positive and finite.
pub(crate) fn check(cap: f32) -> Result<()> {
    if cap > 0.0 && cap.is_finite() { Ok(()) } else { Err(TransformerError::Softcap { cap }) }
}

/// Writes the capped `x` to `y`, of the same length.
///
/// # Errors
/// [`TransformerError::Softcap`] unless `cap` is positive and finite; [`TransformerError::Length`].
pub fn forward(cap: f32, x: &[f32], y: &mut [f32]) -> Result<()> {
    check(cap)?;
    check_len("softcap", "y", &[x.len()], y.len())?;
    parallel::rows_mut(y, 1, ELEMENTS, |start, y| dispatch(Values { cap, x: &x[start..], y }));
    Ok(())
}

/// Turns `dy`, the gradient of the capped `x`, into the gradient of `x` in place.
///
/// # Errors
/// As [`forward`].
pub fn backward(cap: f32, x: &[f32], dy: &mut [f32]) -> Result<()> {
    check(cap)?;
    check_len("softcap", "dy", &[x.len()], dy.len())?;
    parallel::rows_mut(dy, 1, ELEMENTS, |start, dy| dispatch(Slopes { cap, x: &x[start..], dy }));
    Ok(())
}

struct Values<'a> {
    cap: f32,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Values<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inverse = 1.0 / self.cap;
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = self.cap * math::tanh::<I>(x * inverse);
        }
    }
}

struct Slopes<'a> {
    cap: f32,
    x: &'a [f32],
    dy: &'a mut [f32],
}

impl Kernel for Slopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inverse = 1.0 / self.cap;
        for (dy, &x) in self.dy.iter_mut().zip(self.x) {
            let t = math::tanh::<I>(x * inverse);
            *dy *= I::mul_add(-t, t, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slopes() {
        let (cap, x) = (30.0, [-1000.0, -20.0, 0.0, 1e-3, 45.0]);
        let (mut y, mut dy) = ([0.0; 5], [2.0; 5]);
        forward(cap, &x, &mut y).unwrap();
        backward(cap, &x, &mut dy).unwrap();
        for i in 0..x.len() {
            let t = (f64::from(x[i]) / 30.0).tanh();
            // A few roundings of values up to 30.
            assert!((f64::from(y[i]) - 30.0 * t).abs() <= 1e-5);
            assert!((f64::from(dy[i]) - 2.0 * (1.0 - t * t)).abs() <= 1e-6);
        }
    }

    #[test]
    fn a_cap_must_be_positive() {
        for cap in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(forward(cap, &[], &mut []), Err(TransformerError::Softcap { .. })));
        }
    }
}
