//! Activations and the soft cap.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::{Activation, TransformerError, activation, launch, softcap};

use crate::{UNIT, assert_within, values};

/// As in the test of the gated activation.
const FUNCTION_ERROR: f64 = 2.0 * 2e-7;

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
    fn activations_agree_with_the_cpu(
        len in prop_oneof![0usize..9, 1020usize..1030, 2045usize..2050],
        function in proptest::sample::select(&ACTIVATIONS[..]),
        wide: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let executor = testing::executor(seed);
        let (x_buffer, x) = stored(&executor, dtype, values(len, seed, 0).into_iter().map(|x| 3.0 * x).collect());
        let (mut dy_buffer, dy) = stored(&executor, dtype, values(len, seed, 1));
        let (mut y, mut dx) = (vec![0.0; len], dy.clone());
        activation::forward(function, &x[..], &mut y).unwrap();
        activation::backward(function, &x[..], &mut dx).unwrap();
        let mut y_buffer = executor.allocate(len * dtype.size_bytes()).unwrap();
        launch::activation::forward(dtype, function, len, &x_buffer, &mut y_buffer).unwrap();
        launch::activation::backward(dtype, function, len, &x_buffer, &mut dy_buffer).unwrap();
        let error = |i: usize| (FUNCTION_ERROR + 2.0 * UNIT) * f64::from(x[i]).abs().max(1.0);
        assert_within(dtype, &read(dtype, &y_buffer), &y, error);
        assert_within(dtype, &read(dtype, &dy_buffer), &dx, |i| error(i) * f64::from(dy[i]).abs());
    }

    #[test]
    fn the_soft_cap_agrees_with_the_cpu(len in 0usize..1100, cap in 0.5f32..50.0, wide: bool, seed: u64) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let executor = testing::executor(seed);
        let (x_buffer, x) = stored(&executor, dtype, values(len, seed, 0).into_iter().map(|x| 30.0 * x).collect());
        let (mut dy_buffer, dy) = stored(&executor, dtype, values(len, seed, 1));
        let (mut y, mut dx) = (vec![0.0; len], dy.clone());
        softcap::forward(cap, &x, &mut y).unwrap();
        softcap::backward(cap, &x, &mut dx).unwrap();
        let mut y_buffer = executor.allocate(len * dtype.size_bytes()).unwrap();
        launch::softcap::forward(dtype, cap, len, &x_buffer, &mut y_buffer).unwrap();
        launch::softcap::backward(dtype, cap, len, &x_buffer, &mut dy_buffer).unwrap();
        // tanh is off by a few units on each side, its argument by two roundings whose effect is at most as large.
        assert_within(dtype, &read(dtype, &y_buffer), &y, |_| f64::from(cap) * FUNCTION_ERROR);
        assert_within(dtype, &read(dtype, &dy_buffer), &dx, |i| 4.0 * FUNCTION_ERROR * f64::from(dy[i]).abs());
    }
}

#[test]
fn a_cap_that_is_none_is_refused() {
    let executor = testing::executor(0);
    let (x, mut y) = (executor.upload(&[1.0f32]).unwrap(), executor.upload(&[7.0f32]).unwrap());
    let refused = launch::softcap::forward(DType::F32, 0.0, 1, &x, &mut y).unwrap_err();
    assert!(matches!(refused, TransformerError::Softcap { .. }));
    let refused = launch::activation::forward(DType::F32, Activation::Relu, 2, &x, &mut y).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "x", expected: 2, got: 1, .. }));
}
