//! Gated activation of the feed-forward block: SwiGLU with silu, GeGLU with gelu.
//!
//! ```text
//! y     = act(gate) * up
//! dgate = dy * up * act'(gate),   dup = dy * act(gate)
//! ```
//!
//! Source: Shazeer 2020, "GLU Variants Improve Transformer". Gate and up come from two products, or side by side from a
//! fused one.

use std::ops::Range;

use device::simd::{Isa, Kernel, dispatch};
use device::{Elements, parallel};

use crate::blocks::{rows_per_block, zip_rows_mut};
use crate::error::check_len;
use crate::functions::{Function, Visitor};
use crate::widen::with_f32;
use crate::{Activation, Result};

const OP: &str = "gated";

/// Sizes of `y`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows.
    pub rows: usize,
    /// Columns of `gate`, of `up` and of `y`.
    pub features: usize,
}

/// The two factors.
#[derive(Clone, Copy, Debug)]
pub enum GateUp<'a> {
    /// Apart.
    Separate {
        /// `[rows, features]`
        gate: Elements<'a>,
        /// `[rows, features]`
        up: Elements<'a>,
    },
    /// `[rows, 2 * features]`: in every row the gate, then up (Phi-3's `gate_up_proj`).
    Fused(Elements<'a>),
}

impl<'a> GateUp<'a> {
    pub(crate) fn check(&self, shape: Shape) -> Result<()> {
        match self {
            GateUp::Separate { gate, up } => {
                check_len(OP, "gate", &[shape.rows, shape.features], gate.len())?;
                check_len(OP, "up", &[shape.rows, shape.features], up.len())
            }
            GateUp::Fused(both) => check_len(OP, "gate_up", &[shape.rows, 2, shape.features], both.len()),
        }
    }

    /// Calls `body` with a block of rows in f32.
    pub(crate) fn with_rows<R>(&self, rows: Range<usize>, features: usize, body: impl FnOnce(Rows<'_>) -> R) -> R {
        let part = |width: usize| rows.start * width..rows.end * width;
        match *self {
            GateUp::Separate { gate, up } => with_f32(gate, part(features), |gate| {
                with_f32(up, part(features), |up| body(Rows::Separate { gate, up, features }))
            }),
            GateUp::Fused(both) => with_f32(both, part(2 * features), |both| body(Rows::Fused { both, features })),
        }
    }
}

/// Some rows of the two factors.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    Separate { gate: &'a [f32], up: &'a [f32], features: usize },
    Fused { both: &'a [f32], features: usize },
}

impl<'a> Rows<'a> {
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> (&'a [f32], &'a [f32]) {
        match *self {
            Rows::Separate { gate, up, features } => {
                let part = row * features..(row + 1) * features;
                (&gate[part.clone()], &up[part])
            }
            Rows::Fused { both, features } => both[2 * row * features..2 * (row + 1) * features].split_at(features),
        }
    }
}

/// Where the gradients of the two factors are written.
#[derive(Debug)]
pub enum GateUpMut<'a> {
    /// Apart.
    Separate {
        /// `[rows, features]`
        dgate: &'a mut [f32],
        /// `[rows, features]`
        dup: &'a mut [f32],
    },
    /// `[rows, 2 * features]`: in every row that of the gate, then that of up.
    Fused(&'a mut [f32]),
}

impl<'a> GateUpMut<'a> {
    pub(crate) fn check(&self, shape: Shape) -> Result<()> {
        match self {
            GateUpMut::Separate { dgate, dup } => {
                check_len(OP, "dgate", &[shape.rows, shape.features], dgate.len())?;
                check_len(OP, "dup", &[shape.rows, shape.features], dup.len())
            }
            GateUpMut::Fused(both) => check_len(OP, "dgate_up", &[shape.rows, 2, shape.features], both.len()),
        }
    }

    /// Consecutive parts of `rows` rows; `features` are not none.
    pub(crate) fn blocks(self, rows: usize, features: usize) -> impl Iterator<Item = GateUpMut<'a>> {
        let (first, second) = match self {
            GateUpMut::Separate { dgate, dup } => (dgate, Some(dup)),
            GateUpMut::Fused(both) => (both, None),
        };
        let width = if second.is_some() { features } else { 2 * features };
        let mut seconds = second.map(|second| second.chunks_mut(rows * width));
        first.chunks_mut(rows * width).map(move |first| match seconds.as_mut().and_then(Iterator::next) {
            Some(dup) => GateUpMut::Separate { dgate: first, dup },
            None => GateUpMut::Fused(first),
        })
    }

    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize, features: usize) -> (&mut [f32], &mut [f32]) {
        match self {
            GateUpMut::Separate { dgate, dup } => {
                let part = row * features..(row + 1) * features;
                (&mut dgate[part.clone()], &mut dup[part])
            }
            GateUpMut::Fused(both) => both[2 * row * features..2 * (row + 1) * features].split_at_mut(features),
        }
    }
}

/// Writes `act(gate) * up` to `y`, `[rows, features]`.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn forward(shape: Shape, activation: Activation, gate_up: GateUp<'_>, y: &mut [f32]) -> Result<()> {
    gate_up.check(shape)?;
    check_len(OP, "y", &[shape.rows, shape.features], y.len())?;
    activation.visit(Forward { features: shape.features, gate_up, y });
    Ok(())
}

struct Forward<'a> {
    features: usize,
    gate_up: GateUp<'a>,
    y: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        let Self { features, gate_up, y } = self;
        parallel::rows_mut(y, features, rows_per_block(features), |start, y| {
            gate_up.with_rows(start..start + y.len() / features, features, |rows| {
                for (row, y) in y.chunks_exact_mut(features).enumerate() {
                    let (gate, up) = rows.row(row);
                    dispatch(ForwardRow { function, gate, up, y });
                }
            });
        });
    }
}

struct ForwardRow<'a, F> {
    function: F,
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> Kernel for ForwardRow<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for ((y, &gate), &up) in self.y.iter_mut().zip(self.gate).zip(self.up) {
            *y = self.function.value::<I>(gate) * up;
        }
    }
}

/// Arguments of [`backward`].
#[derive(Debug)]
pub struct Backward<'a> {
    /// As given to [`forward`].
    pub gate_up: GateUp<'a>,
    /// `[rows, features]`
    pub dy: &'a [f32],
    /// Written.
    pub gradient: GateUpMut<'a>,
}

/// Gradients of both factors.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn backward(shape: Shape, activation: Activation, args: Backward<'_>) -> Result<()> {
    args.gate_up.check(shape)?;
    args.gradient.check(shape)?;
    check_len(OP, "dy", &[shape.rows, shape.features], args.dy.len())?;
    activation.visit(BackwardAll { features: shape.features, args });
    Ok(())
}

struct BackwardAll<'a> {
    features: usize,
    args: Backward<'a>,
}

impl Visitor for BackwardAll<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        let Self { features, args: Backward { gate_up, dy, gradient } } = self;
        let row = |rows: Rows<'_>, i: usize, dy: &[f32], dgate: &mut [f32], dup: &mut [f32]| {
            let (gate, up) = rows.row(i);
            dispatch(BackwardRow { function, gate, up, dy: &dy[i * features..(i + 1) * features], dgate, dup });
        };
        match gradient {
            GateUpMut::Separate { dgate, dup } => {
                zip_rows_mut((dgate, features), (dup, features), |start, dgate, dup| {
                    let dy = &dy[start * features..];
                    gate_up.with_rows(start..start + dup.len() / features, features, |rows| {
                        let outputs = dgate.chunks_exact_mut(features).zip(dup.chunks_exact_mut(features));
                        outputs.enumerate().for_each(|(i, (dgate, dup))| row(rows, i, dy, dgate, dup));
                    });
                })
            }
            GateUpMut::Fused(both) => {
                parallel::rows_mut(both, 2 * features, rows_per_block(2 * features), |start, both| {
                    let dy = &dy[start * features..];
                    gate_up.with_rows(start..start + both.len() / (2 * features), features, |rows| {
                        for (i, both) in both.chunks_exact_mut(2 * features).enumerate() {
                            let (dgate, dup) = both.split_at_mut(features);
                            row(rows, i, dy, dgate, dup);
                        }
                    });
                })
            }
        }
    }
}

struct BackwardRow<'a, F> {
    function: F,
    gate: &'a [f32],
    up: &'a [f32],
    dy: &'a [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
}

impl<F: Function> Kernel for BackwardRow<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.dy);
        for ((dgate, dup), ((&gate, &up), &dy)) in self.dgate.iter_mut().zip(self.dup).zip(inputs) {
            let (value, slope) = self.function.value_and_slope::<I>(gate);
            *dgate = dy * up * slope;
            *dup = dy * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;
    use crate::{TransformerError, activation};
    use proptest::prelude::*;

    fn fuse(features: usize, gate: &[f32], up: &[f32]) -> Vec<f32> {
        gate.chunks(features).zip(up.chunks(features)).flat_map(|(gate, up)| [gate, up].concat()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_is_the_activation_times_up(rows in 1usize..6, features in 1usize..90, seed: u64) {
            let (shape, function, len) = (Shape { rows, features }, Activation::Gelu, rows * features);
            let (gate, up, dy) = (values(len, seed, 3.0), values(len, seed ^ 1, 3.0), values(len, seed ^ 2, 1.0));
            let (mut y, mut act, mut slope) = (vec![f32::NAN; len], vec![0.0; len], vec![1.0; len]);
            let (mut dgate, mut dup) = (y.clone(), y.clone());
            let separate = GateUp::Separate { gate: gate[..].into(), up: up[..].into() };
            forward(shape, function, separate, &mut y).unwrap();
            let gradient = GateUpMut::Separate { dgate: &mut dgate, dup: &mut dup };
            backward(shape, function, Backward { gate_up: separate, dy: &dy, gradient }).unwrap();
            activation::forward(function, &gate[..], &mut act).unwrap();
            activation::backward(function, &gate[..], &mut slope).unwrap();
            for i in 0..len {
                // The same functions; only the order of the products differs.
                prop_assert!((y[i] - act[i] * up[i]).abs() <= 1e-6);
                prop_assert!((dgate[i] - dy[i] * up[i] * slope[i]).abs() <= 1e-6);
                prop_assert!((dup[i] - dy[i] * act[i]).abs() <= 1e-6);
            }

            // Fused is the same, bit for bit.
            let both = fuse(features, &gate, &up);
            let (mut fused_y, mut fused_gradient) = (vec![f32::NAN; len], vec![f32::NAN; 2 * len]);
            forward(shape, function, GateUp::Fused(both[..].into()), &mut fused_y).unwrap();
            let gradient = GateUpMut::Fused(&mut fused_gradient);
            backward(shape, function, Backward { gate_up: GateUp::Fused(both[..].into()), dy: &dy, gradient }).unwrap();
            prop_assert_eq!(fused_y, y);
            prop_assert_eq!(fused_gradient, fuse(features, &dgate, &dup));
        }
    }

    #[test]
    fn lengths_are_checked() {
        let shape = Shape { rows: 2, features: 3 };
        let refused = forward(shape, Activation::Silu, GateUp::Fused(Elements::F32(&[0.0; 11])), &mut [0.0; 6]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "gate_up", expected: 12, got: 11, .. })));
    }
}
