//! Activation functions by their Hugging Face names, and their gradients.
//!
//! ```text
//! y  = act(x)
//! dx = dy * act'(x)
//! ```
//!
//! Largest error of a value or a slope against f64, for |x| <= 20: 2e-7 of the larger of 1 and |x|.

use std::str::FromStr;

use device::simd::{Isa, Kernel, dispatch};
use device::{Elements, parallel};

use crate::blocks::ELEMENTS;
use crate::error::check_len;
use crate::functions::{self, Function, Visitor};
use crate::widen::with_f32;
use crate::{Result, TransformerError};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Phi(x)`, where `Phi` is the cumulative normal distribution: GELU with erf.
    Gelu,
    /// `x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `tanh(x)`.
    Tanh,
}

/// Keys of `ACT2FN` in transformers. Several names of one function differ there in how it is computed only.
const NAMES: [(&str, Activation); 12] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

impl FromStr for Activation {
    type Err = TransformerError;

    /// Reads `hidden_act` or `activation_function` of a model's configuration.
    fn from_str(name: &str) -> Result<Self> {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, activation)) => Ok(*activation),
            None => {
                let known = NAMES.map(|(known, _)| known).join(", ");
                Err(TransformerError::UnknownActivation { name: name.to_owned(), known })
            }
        }
    }
}

impl Activation {
    /// Hands the function's type to `visitor`, so that a loop over it is compiled once for each.
    pub(crate) fn visit<V: Visitor>(self, visitor: V) -> V::Output {
        match self {
            Activation::Silu => visitor.visit(functions::Silu),
            Activation::Gelu => visitor.visit(functions::Gelu),
            Activation::GeluTanh => visitor.visit(functions::GeluTanh),
            Activation::QuickGelu => visitor.visit(functions::QuickGelu),
            Activation::Relu => visitor.visit(functions::Relu),
            Activation::Tanh => visitor.visit(functions::Tanh),
        }
    }
}

/// Writes `act(x)` to `y`, of the same length.
///
/// # Errors
/// [`TransformerError::Length`] if the lengths differ.
pub fn forward<'a>(activation: Activation, x: impl Into<Elements<'a>>, y: &mut [f32]) -> Result<()> {
    let x = x.into();
    check_len("activation", "y", &[x.len()], y.len())?;
    activation.visit(Forward { x, y });
    Ok(())
}

/// Turns `dy`, the gradient of `act(x)`, into the gradient of `x` in place.
///
/// # Errors
/// [`TransformerError::Length`] if the lengths differ.
pub fn backward<'a>(activation: Activation, x: impl Into<Elements<'a>>, dy: &mut [f32]) -> Result<()> {
    let x = x.into();
    check_len("activation", "dy", &[x.len()], dy.len())?;
    activation.visit(Backward { x, dy });
    Ok(())
}

struct Forward<'a> {
    x: Elements<'a>,
    y: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        parallel::rows_mut(self.y, 1, ELEMENTS, |start, y| {
            with_f32(self.x, start..start + y.len(), |x| dispatch(Values { function, x, y }));
        });
    }
}

struct Values<'a, F> {
    function: F,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> Kernel for Values<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = self.function.value::<I>(x);
        }
    }
}

struct Backward<'a> {
    x: Elements<'a>,
    dy: &'a mut [f32],
}

impl Visitor for Backward<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        parallel::rows_mut(self.dy, 1, ELEMENTS, |start, dy| {
            with_f32(self.x, start..start + dy.len(), |x| dispatch(Slopes { function, x, dy }));
        });
    }
}

struct Slopes<'a, F> {
    function: F,
    x: &'a [f32],
    dy: &'a mut [f32],
}

impl<F: Function> Kernel for Slopes<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (dy, &x) in self.dy.iter_mut().zip(self.x) {
            *dy *= self.function.value_and_slope::<I>(x).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{numeric_gradient, values, widen};

    const ALL: [Activation; 6] = [
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Tanh,
    ];

    fn reference(activation: Activation, x: f64) -> f64 {
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        match activation {
            Activation::Silu => x * sigmoid(x),
            Activation::Gelu => x * normal_cdf(x),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Relu => x.max(0.0),
            Activation::Tanh => x.tanh(),
        }
    }

    /// Simpson's rule from 0, 2000 intervals: about 1e-12 for |x| <= 8, beyond which the tail is below 1e-15.
    fn normal_cdf(x: f64) -> f64 {
        const N: usize = 2000;
        let h = x.clamp(-8.0, 8.0) / N as f64;
        let density = |i: usize| (-0.5 * (i as f64 * h).powi(2)).exp() / std::f64::consts::TAU.sqrt();
        let inner: f64 = (1..N).map(|i| if i % 2 == 1 { 4.0 * density(i) } else { 2.0 * density(i) }).sum();
        0.5 + h / 3.0 * (density(0) + inner + density(N))
    }

    #[test]
    fn values_and_slopes_are_accurate() {
        // An odd length, so that the vector loops have a remainder; none of the points is exactly 0.
        let x: Vec<f32> = (0..4001).map(|i| (i as f32 - 2000.3) * 0.01).collect();
        for activation in ALL {
            let (mut y, mut slope) = (vec![f32::NAN; x.len()], vec![1.0; x.len()]);
            forward(activation, &x[..], &mut y).unwrap();
            backward(activation, &x[..], &mut slope).unwrap();
            for ((&x, &y), &slope) in x.iter().zip(&y).zip(&slope) {
                let (wide, scale) = (f64::from(x), f64::from(x).abs().max(1.0));
                let error = (f64::from(y) - reference(activation, wide)).abs() / scale;
                assert!(error <= 2e-7, "{activation:?}({x}) is off by {error:e}");
                let numeric = numeric_gradient(&[wide], |x| reference(activation, x[0]))[0];
                let error = (f64::from(slope) - numeric).abs() / scale;
                assert!(error <= 2e-7, "slope of {activation:?} at {x} is off by {error:e}");
            }
        }
    }

    #[test]
    fn extremes_stay_finite_and_nan_stays() {
        for activation in ALL {
            let x = [-1e30, -100.0, -0.0, 100.0, f32::NAN];
            let (mut y, mut slope) = ([0.0; 5], [1.0; 5]);
            forward(activation, &x[..], &mut y).unwrap();
            backward(activation, &x[..], &mut slope).unwrap();
            assert!(y[..4].iter().all(|y| y.is_finite()) && y[4].is_nan(), "{activation:?}: {y:?}");
            assert!(slope[1..4].iter().all(|s| s.abs() <= 1.2), "{activation:?}: {slope:?}");
        }
    }

    #[test]
    fn a_gradient_is_multiplied() {
        let (x, mut dy) = (values(100_000, 1, 3.0), values(100_000, 2, 1.0));
        let before = widen(&dy);
        backward(Activation::Tanh, &x[..], &mut dy).unwrap();
        for ((x, before), after) in x.iter().zip(before).zip(dy) {
            assert!((f64::from(after) - before * (1.0 - f64::from(*x).tanh().powi(2))).abs() <= 4e-7);
        }
    }

    #[test]
    fn names_are_hugging_faces() {
        assert_eq!("gelu_pytorch_tanh".parse::<Activation>().unwrap(), Activation::GeluTanh);
        assert_eq!("swish".parse::<Activation>().unwrap(), Activation::Silu);
        let error = "mish".parse::<Activation>().unwrap_err().to_string();
        assert!(error.contains("`mish`") && error.contains("gelu_new, "), "{error}");
    }
}
