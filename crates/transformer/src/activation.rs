//! Activation functions by their Hugging Face names, and their gradients.
//!
//! ```text
//! y  = act(x)
//! dx = dy * act'(x)
//! ```
//!
//! Largest error of a value or a slope against f64, for |x| <= 20: 2e-7 of the larger of 1 and |x|.

use std::str::FromStr;

use device::parallel;
use device::simd::{Isa, Kernel, dispatch};

use crate::blocks::ELEMENTS;
use crate::error::check_len;
use crate::functions::{self, Function, Visitor};
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
pub fn forward(activation: Activation, x: &[f32], y: &mut [f32]) -> Result<()> {
    check_len("activation", "y", &[x.len()], y.len())?;
    activation.visit(Forward { x, y });
    Ok(())
}

/// Turns `dy`, the gradient of `act(x)`, into the gradient of `x` in place.
///
/// # Errors
/// [`TransformerError::Length`] if the lengths differ.
pub fn backward(activation: Activation, x: &[f32], dy: &mut [f32]) -> Result<()> {
    check_len("activation", "dy", &[x.len()], dy.len())?;
    activation.visit(Backward { x, dy });
    Ok(())
}

struct Forward<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        parallel::rows_mut(self.y, 1, ELEMENTS, |start, y| dispatch(Values { function, x: &self.x[start..], y }));
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
    x: &'a [f32],
    dy: &'a mut [f32],
}

impl Visitor for Backward<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        parallel::rows_mut(self.dy, 1, ELEMENTS, |start, dy| dispatch(Slopes { function, x: &self.x[start..], dy }));
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
