//! The gated activation with a factor for each channel.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::gated::{GateUp, GateUpMut, Shape};
use tunesmith_transformer::{Activation, Gradient, gated_scaled, launch};

use crate::gated::FUNCTION_ERROR;
use crate::{UNIT, assert_within, dtype, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_the_cpu(
        // More than one block of 64 rows, and of 512 channels.
        rows in prop_oneof![0usize..4, 63usize..66, 129usize..131],
        features in prop_oneof![0usize..9, 510usize..516],
        activation in proptest::sample::select(vec![Activation::Silu, Activation::GeluTanh]),
        wide: bool,
        fused: bool,
        add: bool,
        seed: u64,
    ) {
        let (dtype, shape, len) = (dtype(wide), Shape { rows, features }, rows * features);
        let executor = testing::executor(seed);
        let (gate_buffer, gate) = stored(&executor, dtype, values(len, seed, 0));
        let (up_buffer, up) = stored(&executor, dtype, values(len, seed, 1));
        let (dy_buffer, dy) = stored(&executor, dtype, values(len, seed, 2));
        let scale = values(features, seed, 3);
        let scale_buffer = executor.upload(&scale).unwrap();
        let rows_of = |x: &[f32]| x.chunks(features.max(1)).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let both = rows_of(&gate).into_iter().zip(rows_of(&up)).flat_map(|(gate, up)| [gate, up].concat()).collect();
        let (both_buffer, _) = stored(&executor, dtype, both);

        let gate_up = GateUp::Separate { gate: gate[..].into(), up: up[..].into() };
        let [mut y, mut dgate, mut dup] = [(); 3].map(|()| vec![0.0; len]);
        gated_scaled::forward(shape, activation, gate_up, &scale, &mut y).unwrap();
        let start = values(features, seed, 4);
        let mut dscale = start.clone();
        gated_scaled::backward(shape, activation, gated_scaled::Backward {
            gate_up,
            scale: &scale,
            dy: &dy,
            gradient: GateUpMut::Separate { dgate: &mut dgate, dup: &mut dup },
            dscale: Gradient { values: &mut dscale, add },
        }).unwrap();

        let factors = || match fused {
            true => launch::gated::GateUp::Fused(&both_buffer),
            false => launch::gated::GateUp::Separate { gate: &gate_buffer, up: &up_buffer },
        };
        let bytes = len * dtype.size_bytes();
        let mut y_buffer = executor.allocate(bytes).unwrap();
        launch::gated_scaled::forward(shape, dtype, activation, factors(), &scale_buffer, &mut y_buffer).unwrap();
        let mut first = executor.allocate(if fused { 2 * bytes } else { bytes }).unwrap();
        let (mut second, mut dscale_buffer) = (executor.allocate(bytes).unwrap(), executor.upload(&start).unwrap());
        let gradient = match fused {
            true => launch::gated::GateUp::Fused(&mut first),
            false => launch::gated::GateUp::Separate { gate: &mut first, up: &mut second },
        };
        launch::gated_scaled::backward(shape, activation, launch::gated_scaled::Backward {
            dtype,
            gate_up: factors(),
            scale: &scale_buffer,
            dy: &dy_buffer,
            gradient,
            dscale: launch::Gradient { values: &mut dscale_buffer, add },
        }).unwrap();
        let (got_dgate, got_dup) = match fused {
            true => {
                let (gates, ups): (Vec<_>, Vec<_>) =
                    rows_of(&read(dtype, &first)).into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
                let join = |rows: Vec<(usize, Vec<f32>)>| rows.into_iter().flat_map(|(_, row)| row).collect::<Vec<_>>();
                (join(gates), join(ups))
            }
            false => (read(dtype, &first), read(dtype, &second)),
        };
        // One rounding on each side for each product that follows the function.
        let error = |i: usize, factor: f64| {
            (FUNCTION_ERROR + 6.0 * UNIT) * f64::from(gate[i]).abs().max(1.0) * factor.abs()
        };
        let l = |i: usize| f64::from(scale[i % features]);
        assert_within(dtype, &read(dtype, &y_buffer), &y, |i| error(i, f64::from(up[i]) * l(i)));
        assert_within(dtype, &got_dgate, &dgate, |i| error(i, f64::from(dy[i]) * f64::from(up[i]) * l(i)));
        assert_within(dtype, &got_dup, &dup, |i| error(i, f64::from(dy[i]) * l(i)));
        let got: Vec<f32> = dscale_buffer.read().unwrap();
        assert_within(DType::F32, &got, &dscale, |c| {
            let terms = || (c..len).step_by(features);
            let size = |i: usize| (f64::from(dy[i]) * f64::from(up[i])).abs() * f64::from(gate[i]).abs().max(1.0);
            // The same additions in the same order: what a term is off by, and a rounding of the sum for each.
            let sums = terms().map(size).sum::<f64>() + f64::from(start[c]).abs();
            (FUNCTION_ERROR + 2.0 * (rows as f64 + 4.0) * UNIT) * sums
        });
    }
}
