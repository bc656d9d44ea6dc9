//! Values against f64, gradients against its finite differences, and what is refused.

use device::philox::Stream;
use gemm::Update;
use proptest::prelude::*;

use crate::*;

fn values(len: usize, site: u32, scale: f32) -> Vec<f32> {
    (0..len as u64).map(|i| (Stream::new(3, 0, site).uniform(i) * 2.0 - 1.0) * scale).collect()
}

/// `h` in f64, by the formula.
fn oracle(shape: (usize, usize, bool), input_gates: &[f64], weight_hh: &[f64]) -> Vec<f64> {
    let (steps, size, reverse) = shape;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut h, mut c) = (vec![0.0; size], vec![0.0; size]);
    let mut all = vec![0.0; steps * size];
    for n in 0..steps {
        let t = if reverse { steps - 1 - n } else { n };
        let gate = |row: usize| {
            let recurrent: f64 = (0..size).map(|k| weight_hh[row * size + k] * h[k]).sum();
            input_gates[t * 4 * size + row] + recurrent
        };
        let gates: Vec<f64> = (0..4 * size).map(gate).collect();
        for k in 0..size {
            let [i, f, g, o] = [0, 1, 2, 3].map(|part| gates[part * size + k]);
            c[k] = sigmoid(f) * c[k] + sigmoid(i) * g.tanh();
            h[k] = sigmoid(o) * c[k].tanh();
        }
        all[t * size..(t + 1) * size].copy_from_slice(&h);
    }
    all
}

struct Ran {
    h: Vec<f32>,
    gates: Vec<f32>,
    cells: Vec<f32>,
}

fn run(shape: (usize, usize, bool), input_gates: &[f32], weight_hh: &[f32]) -> Ran {
    let (steps, size, reverse) = shape;
    let poison = |len| vec![f32::NAN; len];
    let mut ran = Ran { h: poison(steps * size), gates: poison(4 * steps * size), cells: poison(steps * size) };
    let Ran { h, gates, cells } = &mut ran;
    let shape = LstmShape::new(steps, size, reverse).unwrap();
    forward(&shape, Forward { input_gates, weight_hh, h, gates, cells }).unwrap();
    ran
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

#[track_caller]
fn assert_close(got: &[f32], expected: &[f64]) {
    let scale = expected.iter().fold(1e-3f64, |largest, x| largest.max(x.abs()));
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(got) - expected).abs() <= 2e-6 * scale, "element {i}: {got}, expected {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn values_and_gradients_are_those_of_f64(steps in 1usize..24, size in 1usize..20, reverse: bool, site in 0u32..1000) {
        let shape = (steps, size, reverse);
        let input_gates = values(4 * steps * size, 10 * site, 2.0);
        let weight_hh = values(4 * size * size, 10 * site + 1, 1.0 / (size as f32).sqrt());
        let weights = values(steps * size, 10 * site + 2, 1.0);
        let ran = run(shape, &input_gates, &weight_hh);
        let (wide_gates, wide_weight, wide_weights) = (widen(&input_gates), widen(&weight_hh), widen(&weights));
        assert_close(&ran.h, &oracle(shape, &wide_gates, &wide_weight));

        let checked = LstmShape::new(steps, size, reverse).unwrap();
        let saved = Saved { weight_hh: &weight_hh, h: &ran.h, gates: &ran.gates, cells: &ran.cells };
        let backward = Backward::new(&checked, saved, &weights).unwrap();
        let mut grad_weight = vec![1.0; weight_hh.len()];
        backward.weight_hh(Update::Accumulate, &mut grad_weight).unwrap();
        let loss = |gates: &[f64], weight: &[f64]| -> f64 {
            oracle(shape, gates, weight).iter().zip(&wide_weights).map(|(h, w)| h * w).sum()
        };
        // Central differences in f64: their own error is about 1e-9.
        const STEP: f64 = 1e-5;
        let numeric = |values: &[f64], loss: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let shifted = |i: usize, by: f64| {
                let mut values = values.to_vec();
                values[i] += by;
                loss(&values)
            };
            (0..values.len()).map(|i| (shifted(i, STEP) - shifted(i, -STEP)) / (2.0 * STEP)).collect()
        };
        let grad_gates = backward.into_input_gates();
        assert_close(grad_gates.f32().unwrap(), &numeric(&wide_gates, &|gates| loss(gates, &wide_weight)));
        let expected: Vec<f64> =
            numeric(&wide_weight, &|weight| loss(&wide_gates, weight)).iter().map(|g| g + 1.0).collect();
        assert_close(&grad_weight, &expected);
    }
}

#[test]
fn a_sequence_read_in_reverse_is_the_reversed_sequence() {
    let (steps, size) = (5, 3);
    let (input_gates, weight_hh) = (values(4 * steps * size, 1, 1.0), values(4 * size * size, 2, 0.5));
    let reversed = |values: &[f32], len: usize| values.chunks(len).rev().flatten().copied().collect::<Vec<f32>>();
    let there = run((steps, size, false), &reversed(&input_gates, 4 * size), &weight_hh);
    assert_eq!(run((steps, size, true), &input_gates, &weight_hh).h, reversed(&there.h, size));
}

#[test]
fn without_a_step_there_is_nothing() {
    assert!(run((0, 3, false), &[], &[0.0; 36]).h.is_empty());
    let shape = LstmShape::new(0, 3, true).unwrap();
    let saved = Saved { weight_hh: &[0.0; 36], h: &[], gates: &[], cells: &[] };
    let mut grad = [7.0; 36];
    Backward::new(&shape, saved, &[]).unwrap().weight_hh(Update::Overwrite, &mut grad).unwrap();
    assert_eq!(grad, [0.0; 36]);
}

#[test]
fn what_does_not_fit_is_named() {
    assert!(matches!(LstmShape::new(1, usize::MAX / 4, false), Err(LstmError::TooLarge { .. })));
    let shape = LstmShape::new(2, 1, false).unwrap();
    let (mut h, mut gates, mut cells) = ([0.0; 2], [0.0; 8], [0.0; 2]);
    let arguments =
        Forward { input_gates: &[0.0; 8], weight_hh: &[0.0; 3], h: &mut h, gates: &mut gates, cells: &mut cells };
    let message = forward(&shape, arguments).unwrap_err().to_string();
    assert_eq!(message, "lstm: `weight_hh` holds 3 elements, expected 4 x 1 = 4");
}
