//! The activation functions and their slopes, one element at a time, to be compiled into vector loops.

use device::math;
use device::simd::Isa;

/// A scalar function with its slope.
pub(crate) trait Function: Copy + Sync {
    /// `f(x)`
    fn value<I: Isa>(self, x: f32) -> f32;
    /// `(f(x), f'(x))`
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32);
}

/// Code that is compiled for one function at a time.
pub(crate) trait Visitor {
    /// What it returns.
    type Output;
    /// Runs for `function`.
    fn visit<F: Function>(self, function: F) -> Self::Output;
}

/// `x * sigmoid(z(x))`, given `z` and its slope: silu and its relatives.
#[inline(always)]
fn gated_by_sigmoid<I: Isa>(x: f32, z: f32, slope: f32) -> (f32, f32) {
    let (s, complement) = math::sigmoid::<I>(z);
    (x * s, s * I::mul_add(x * complement, slope, 1.0))
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<I: Isa>(self, x: f32) -> f32 {
        self.value_and_slope::<I>(x).0
    }
    #[inline(always)]
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32) {
        gated_by_sigmoid::<I>(x, x, 1.0)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct QuickGelu;

impl Function for QuickGelu {
    #[inline(always)]
    fn value<I: Isa>(self, x: f32) -> f32 {
        self.value_and_slope::<I>(x).0
    }
    #[inline(always)]
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32) {
        gated_by_sigmoid::<I>(x, 1.702 * x, 1.702)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    fn value<I: Isa>(self, x: f32) -> f32 {
        self.value_and_slope::<I>(x).0
    }
    #[inline(always)]
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32) {
        /// `2 sqrt(2 / pi)`: `(1 + tanh(u)) / 2` is `sigmoid(2 u)`.
        const SCALE: f32 = 1.595_769;
        const CUBIC: f32 = 0.044_715;
        let square = x * x;
        let z = SCALE * x * I::mul_add(CUBIC, square, 1.0);
        gated_by_sigmoid::<I>(x, z, SCALE * I::mul_add(3.0 * CUBIC, square, 1.0))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn value<I: Isa>(self, x: f32) -> f32 {
        self.value_and_slope::<I>(x).0
    }
    #[inline(always)]
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32) {
        let (cdf, density) = math::normal::<I>(x);
        (x * cdf, I::mul_add(x, density, cdf))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<I: Isa>(self, x: f32) -> f32 {
        // This way round, NaN stays NaN.
        if x < 0.0 { 0.0 } else { x }
    }
    #[inline(always)]
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32) {
        (self.value::<I>(x), if x > 0.0 { 1.0 } else { 0.0 })
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn value<I: Isa>(self, x: f32) -> f32 {
        math::tanh::<I>(x)
    }
    #[inline(always)]
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32) {
        let y = math::tanh::<I>(x);
        (y, I::mul_add(-y, y, 1.0))
    }
}
