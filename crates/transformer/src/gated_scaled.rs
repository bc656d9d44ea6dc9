//! Gated activation with a learned factor for each channel: what (IA)^3 does to the input of a block's last projection, in the
//! pass that makes that input.
//!
//! ```text
//! y        = act(gate) * up * scale
//! dgate    = dy * scale * up * act'(gate),   dup = dy * scale * act(gate)
//! dscale_c = sum over rows of dy * act(gate) * up
//! ```
//!
//! Products are in this order, and `dscale` adds [`ROWS`] rows at a time, then these sums, in order: the numbers are those of
//! [`gated`](crate::gated) with the scaling as an op of its own behind it, bit for bit. Source: Liu et al. 2022, "Few-shot
//! parameter-efficient fine-tuning is better and cheaper than in-context learning", section 3.3.

use device::simd::{Isa, Kernel, dispatch};
use device::{Buffer, DType, Device, parallel};
use rayon::prelude::*;

use crate::blocks::rows_per_block;
use crate::error::check_len;
use crate::functions::{Function, Visitor};
use crate::gated::{GateUp, GateUpMut, Shape};
use crate::{Activation, Gradient, Result};

const OP: &str = "gated_scaled";

/// Rows whose terms of `dscale` one task adds up: fixed, so that sums do not depend on the number of threads.
pub const ROWS: usize = 64;

/// Writes `act(gate) * up * scale` to `y`, `[rows, features]`; `scale` is `[features]`.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn forward(shape: Shape, activation: Activation, gate_up: GateUp<'_>, scale: &[f32], y: &mut [f32]) -> Result<()> {
    gate_up.check(shape)?;
    check_len(OP, "scale", &[shape.features], scale.len())?;
    check_len(OP, "y", &[shape.rows, shape.features], y.len())?;
    activation.visit(Forward { features: shape.features, gate_up, scale, y });
    Ok(())
}

struct Forward<'a> {
    features: usize,
    gate_up: GateUp<'a>,
    scale: &'a [f32],
    y: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        let Self { features, gate_up, scale, y } = self;
        parallel::rows_mut(y, features, rows_per_block(features), |start, y| {
            gate_up.with_rows(start..start + y.len() / features, features, |rows| {
                for (row, y) in y.chunks_exact_mut(features).enumerate() {
                    let (gate, up) = rows.row(row);
                    dispatch(ForwardRow { function, gate, up, scale, y });
                }
            });
        });
    }
}

struct ForwardRow<'a, F> {
    function: F,
    gate: &'a [f32],
    up: &'a [f32],
    scale: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> Kernel for ForwardRow<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.scale);
        for (y, ((&gate, &up), &scale)) in self.y.iter_mut().zip(inputs) {
            *y = self.function.value::<I>(gate) * up * scale;
        }
    }
}

/// Arguments of [`backward`].
#[derive(Debug)]
pub struct Backward<'a> {
    /// As given to [`forward`].
    pub gate_up: GateUp<'a>,
    /// As given to [`forward`].
    pub scale: &'a [f32],
    /// `[rows, features]`
    pub dy: &'a [f32],
    /// Written.
    pub gradient: GateUpMut<'a>,
    /// `[features]`
    pub dscale: Gradient<'a>,
}

/// Gradients of both factors and of the scale, in one pass.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`; [`crate::TransformerError::Device`] without
/// memory.
pub fn backward(shape: Shape, activation: Activation, args: Backward<'_>) -> Result<()> {
    let Shape { rows, features } = shape;
    let Backward { gate_up, scale, dy, gradient, dscale } = args;
    gate_up.check(shape)?;
    gradient.check(shape)?;
    check_len(OP, "scale", &[features], scale.len())?;
    check_len(OP, "dy", &[rows, features], dy.len())?;
    check_len(OP, "dscale", &[features], dscale.values.len())?;
    if !dscale.add {
        dscale.values.fill(0.0);
    }
    if features == 0 {
        return Ok(());
    }
    let mut sums = Buffer::zeroed(Device::Cpu, DType::F32, rows.div_ceil(ROWS) * features)?;
    let sums = sums.f32_mut()?;
    activation.visit(BackwardAll { features, gate_up, scale, dy, gradient, sums });
    for sums in sums.chunks_exact(features) {
        dscale.values.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    Ok(())
}

struct BackwardAll<'a> {
    features: usize,
    gate_up: GateUp<'a>,
    scale: &'a [f32],
    dy: &'a [f32],
    gradient: GateUpMut<'a>,
    /// A row for each [`ROWS`] rows, zero.
    sums: &'a mut [f32],
}

impl Visitor for BackwardAll<'_> {
    type Output = ();
    fn visit<F: Function>(self, function: F) {
        let Self { features, gate_up, scale, dy, gradient, sums } = self;
        let tasks: Vec<_> = gradient.blocks(ROWS, features).zip(sums.chunks_exact_mut(features)).collect();
        tasks.into_par_iter().enumerate().for_each(|(block, (mut gradient, sums))| {
            let dy = dy.chunks_exact(features).skip(block * ROWS).take(ROWS);
            for (i, dy) in dy.enumerate() {
                let row = block * ROWS + i;
                let (dgate, dup) = gradient.row(i, features);
                gate_up.with_rows(row..row + 1, features, |rows| {
                    let (gate, up) = rows.row(0);
                    dispatch(BackwardRow { function, gate, up, scale, dy, dgate, dup, sums: &mut *sums });
                });
            }
        });
    }
}

struct BackwardRow<'a, F> {
    function: F,
    gate: &'a [f32],
    up: &'a [f32],
    scale: &'a [f32],
    dy: &'a [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<F: Function> Kernel for BackwardRow<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.scale).zip(self.dy);
        let outputs = self.dgate.iter_mut().zip(self.dup).zip(self.sums);
        for (((dgate, dup), sum), (((&gate, &up), &scale), &dy)) in outputs.zip(inputs) {
            let (value, slope) = self.function.value_and_slope::<I>(gate);
            let scaled = dy * scale;
            *sum += dy * (value * up);
            *dgate = scaled * up * slope;
            *dup = scaled * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;
    use crate::{TransformerError, gated};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn it_is_the_gated_activation_scaled_bit_for_bit(rows in 0usize..150, features in 1usize..40, seed: u64) {
            let (shape, function, len) = (Shape { rows, features }, Activation::Silu, rows * features);
            let [gate, up, dy] = [0, 1, 2].map(|site| values(len, seed ^ site, 2.0));
            let scale = values(features, seed ^ 3, 2.0);
            let gate_up = GateUp::Separate { gate: gate[..].into(), up: up[..].into() };
            let mut plain = vec![f32::NAN; len];
            gated::forward(shape, function, gate_up, &mut plain).unwrap();
            let scaled = |x: &[f32]| -> Vec<f32> { x.iter().enumerate().map(|(i, x)| x * scale[i % features]).collect() };
            let mut y = vec![f32::NAN; len];
            forward(shape, function, gate_up, &scale, &mut y).unwrap();
            prop_assert_eq!(&y, &scaled(&plain));

            let [mut dgate, mut dup, mut expected_dgate, mut expected_dup] = [(); 4].map(|()| vec![f32::NAN; len]);
            let start = values(features, seed ^ 4, 1.0);
            let mut dscale = start.clone();
            let gradient = GateUpMut::Separate { dgate: &mut dgate, dup: &mut dup };
            let args = Backward { gate_up, scale: &scale, dy: &dy, gradient, dscale: Gradient::accumulate(&mut dscale) };
            backward(shape, function, args).unwrap();
            let gradient = GateUpMut::Separate { dgate: &mut expected_dgate, dup: &mut expected_dup };
            gated::backward(shape, function, gated::Backward { gate_up, dy: &scaled(&dy), gradient }).unwrap();
            prop_assert_eq!(&dgate, &expected_dgate);
            prop_assert_eq!(&dup, &expected_dup);
            for (c, &got) in dscale.iter().enumerate() {
                let terms = || (c..len).step_by(features).map(|i| dy[i] * plain[i]);
                let blocks = terms().collect::<Vec<_>>();
                let expected = blocks.chunks(ROWS).fold(start[c], |sum, block| sum + block.iter().sum::<f32>());
                prop_assert_eq!(got, expected);
            }

            // Side by side it is the same.
            let both: Vec<f32> =
                gate.chunks(features).zip(up.chunks(features)).flat_map(|(gate, up)| [gate, up].concat()).collect();
            let (mut fused_y, mut fused_gradient, mut fused_dscale) = (vec![f32::NAN; len], vec![f32::NAN; 2 * len], start);
            forward(shape, function, GateUp::Fused(both[..].into()), &scale, &mut fused_y).unwrap();
            prop_assert_eq!(&fused_y, &y);
            let (gate_up, gradient) = (GateUp::Fused(both[..].into()), GateUpMut::Fused(&mut fused_gradient));
            let dscale_of_both = Gradient::accumulate(&mut fused_dscale);
            backward(shape, function, Backward { gate_up, scale: &scale, dy: &dy, gradient, dscale: dscale_of_both }).unwrap();
            prop_assert_eq!(fused_dscale, dscale);
            let expected: Vec<f32> =
                dgate.chunks(features).zip(dup.chunks(features)).flat_map(|(gate, up)| [gate, up].concat()).collect();
            prop_assert_eq!(fused_gradient, expected);
        }
    }

    #[test]
    fn lengths_are_checked() {
        let (shape, x) = (Shape { rows: 2, features: 3 }, [1.0; 6]);
        let gate_up = GateUp::Separate { gate: x[..].into(), up: x[..].into() };
        let refused = forward(shape, Activation::Silu, gate_up, &x[..2], &mut [0.0; 6]);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "scale", expected: 3, got: 2, .. })));
    }
}
