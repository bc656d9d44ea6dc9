//! The gated activation.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::gated::{self, Shape};
use tunesmith_transformer::{Activation, launch};

use crate::{UNIT, assert_within, values};

/// Error of a value or a slope at `x` with |x| <= 20, in units of the larger of 1 and |x|: 2e-7 on the CPU
/// (`activation`'s page), and as much in the kernel, whose exponential, erfc and tanh are at most 5 units in the last place
/// off, also on a GPU (CUDA C++ Programming Guide, "Mathematical Functions").
pub(crate) const FUNCTION_ERROR: f64 = 2.0 * 2e-7;

const ACTIVATIONS: [Activation; 6] = [
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::QuickGelu,
    Activation::Relu,
    Activation::Tanh,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_the_cpu(
        rows in 0usize..4,
        features in prop_oneof![0usize..9, 250usize..260, 1020usize..1030],
        activation in proptest::sample::select(&ACTIVATIONS[..]),
        wide: bool,
        fused: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let (shape, len) = (Shape { rows, features }, rows * features);
        let executor = testing::executor(seed);
        // Three standard deviations: where slopes bend and where they are flat.
        let spread = |site| values(len, seed, site).into_iter().map(|x| 3.0 * x).collect::<Vec<_>>();
        let (gate_buffer, gate) = stored(&executor, dtype, spread(0));
        let (up_buffer, up) = stored(&executor, dtype, values(len, seed, 1));
        let (dy_buffer, dy) = stored(&executor, dtype, values(len, seed, 2));
        let rows_of = |x: &[f32]| x.chunks(features.max(1)).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let both = rows_of(&gate).into_iter().zip(rows_of(&up)).flat_map(|(gate, up)| [gate, up].concat()).collect();
        let (both_buffer, _) = stored(&executor, dtype, both);

        let mut y = vec![0.0; len];
        gated::forward(shape, activation, gated::GateUp::Separate { gate: gate[..].into(), up: up[..].into() }, &mut y).unwrap();
        let (mut dgate, mut dup) = (vec![0.0; len], vec![0.0; len]);
        gated::backward(shape, activation, gated::Backward {
            gate_up: gated::GateUp::Separate { gate: gate[..].into(), up: up[..].into() },
            dy: &dy,
            gradient: gated::GateUpMut::Separate { dgate: &mut dgate, dup: &mut dup },
        }).unwrap();

        let factors = || if fused {
            launch::gated::GateUp::Fused(&both_buffer)
        } else {
            launch::gated::GateUp::Separate { gate: &gate_buffer, up: &up_buffer }
        };
        let bytes = len * dtype.size_bytes();
        let mut y_buffer = executor.allocate(bytes).unwrap();
        launch::gated::forward(shape, dtype, activation, factors(), &mut y_buffer).unwrap();
        let (mut first, mut second) = (executor.allocate(if fused { 2 * bytes } else { bytes }).unwrap(), executor.allocate(bytes).unwrap());
        let gradient = if fused {
            launch::gated::GateUp::Fused(&mut first)
        } else {
            launch::gated::GateUp::Separate { gate: &mut first, up: &mut second }
        };
        launch::gated::backward(shape, activation, launch::gated::Backward {
            dtype, gate_up: factors(), dy: &dy_buffer, gradient,
        }).unwrap();
        let (got_dgate, got_dup) = if fused {
            let (gates, ups): (Vec<_>, Vec<_>) =
                rows_of(&read(dtype, &first)).into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
            let join = |rows: Vec<(usize, Vec<f32>)>| rows.into_iter().flat_map(|(_, row)| row).collect::<Vec<_>>();
            (join(gates), join(ups))
        } else {
            (read(dtype, &first), read(dtype, &second))
        };
        // One more rounding on each side for the product with the other factor, two with two.
        let error = |i: usize, factor: f64| {
            let function = (FUNCTION_ERROR + 4.0 * UNIT) * f64::from(gate[i]).abs().max(1.0);
            function * factor.abs()
        };
        assert_within(dtype, &read(dtype, &y_buffer), &y, |i| error(i, up[i].into()));
        assert_within(dtype, &got_dgate, &dgate, |i| error(i, f64::from(dy[i]) * f64::from(up[i])));
        assert_within(dtype, &got_dup, &dup, |i| error(i, dy[i].into()));
    }
}

#[test]
fn far_out_a_value_stays_finite_and_nan_stays_nan() {
    let gate = [f32::NAN, 1e4, -1e4, 200.0, -200.0, 0.0];
    let (shape, ones) = (Shape { rows: 1, features: gate.len() }, [1.0f32; 6]);
    let executor = testing::executor(0);
    let (gate_buffer, ones_buffer) = (executor.upload(&gate).unwrap(), executor.upload(&ones).unwrap());
    for activation in ACTIVATIONS {
        let factors = launch::gated::GateUp::Separate { gate: &gate_buffer, up: &ones_buffer };
        let [mut y, mut dgate, mut dup] = [(); 3].map(|()| executor.allocate(24).unwrap());
        launch::gated::forward(shape, DType::F32, activation, factors, &mut y).unwrap();
        let gradient = launch::gated::GateUp::Separate { gate: &mut dgate, up: &mut dup };
        let args = launch::gated::Backward { dtype: DType::F32, gate_up: factors, dy: &ones_buffer, gradient };
        launch::gated::backward(shape, activation, args).unwrap();
        let (y, slopes) = (y.read::<f32>().unwrap(), dgate.read::<f32>().unwrap());
        assert!(y[0].is_nan(), "{activation:?}");
        // At infinity the functions are x, 0 or 1 and their slopes 1 or 0; what is left of sigmoid's clamped tail, 2^-125, times
        // x and the slope of GELU's cubic, is below 1e-26.
        let limit = |x: f32| if activation == Activation::Tanh { x.signum() } else { x.max(0.0) };
        let slope = |x: f32| if activation == Activation::Tanh { 0.0 } else { f32::from(u8::from(x > 0.0)) };
        for (i, &x) in gate.iter().enumerate().skip(1).take(4) {
            assert!((y[i] - limit(x)).abs() <= 1e-26, "{activation:?} at {x}: {}", y[i]);
            assert!((slopes[i] - slope(x)).abs() <= 1e-26, "{activation:?}' at {x}: {}", slopes[i]);
        }
        assert_eq!(y[5], 0.0, "{activation:?}");
    }
}
