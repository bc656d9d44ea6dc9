//! Equality with the CPU implementation, within the rounding of both.

use device::DType;
use device::launch::Executor;
use device::launch::testing::{self, BF16_UNIT, UNIT};
use proptest::prelude::*;
use tunesmith_prefix_attention::{AttentionSpec, RelativeBuckets};

use crate::magnitudes::Magnitudes;
use crate::problem::{Case, Results, cases};

/// Fails unless `|got - expected|` is at most `relative` times the magnitude of the terms, plus the rounding to `dtype`.
fn assert_within(name: &str, dtype: DType, got: &[f32], expected: &[f32], magnitudes: &[f64], relative: f64) {
    assert_eq!((got.len(), expected.len()), (magnitudes.len(), magnitudes.len()), "{name}");
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let bound = relative * magnitudes[i];
        let stored = if dtype == DType::BF16 { BF16_UNIT * (f64::from(expected).abs() + bound) } else { 0.0 };
        let difference = (f64::from(got) - f64::from(expected)).abs();
        assert!(difference <= bound + stored, "{name}[{i}]: {got:e}, expected {expected:e}, bound {bound:e}");
    }
}

fn check(case: &Case, seed: u64) {
    check_on(&testing::executor(seed), case, seed);
}

/// With the kernels that `executor` picks.
pub(crate) fn check_on(executor: &Executor, case: &Case, seed: u64) {
    let (problem, dtype) = (case.problem(seed), case.dtype);
    let got = problem.launch(executor);
    let (o, softmax_lse) = problem.forward();
    let magnitudes = Magnitudes::new(&problem, &got.o);
    // The error of a score: a sum of head_dim products, a few roundings of its own, and with soft-capping those of tanh.
    let dim = case.spec.head_dim as f64;
    let cap = case.spec.softcap.map_or(0.0, f64::from);
    let score = ((dim + 4.0) * magnitudes.scores
        + 8.0 * magnitudes.scores.min(if cap > 0.0 { cap } else { f64::INFINITY }))
        * UNIT;
    // A log-sum-exp moves as much as its scores; its sum and logarithm add a rounding for each key, and those of its size.
    let lse = 2.0 * (score + (magnitudes.terms as f64 + 4.0 * magnitudes.scores + 16.0) * UNIT);
    for (i, (&got, &expected)) in got.softmax_lse.iter().zip(&softmax_lse).enumerate() {
        let difference = if got == expected { 0.0 } else { (f64::from(got) - f64::from(expected)).abs() };
        assert!(difference <= lse, "softmax_lse[{i}]: {got:e}, expected {expected:e}, bound {lse:e}");
    }
    // The relative error of a probability is the error of its score and of the log-sum-exp. What it multiplies, and with
    // soft-capping the slope, are sums over channels; a result is a sum over keys or queries. In bf16 the factor is rounded.
    let slope = if cap > 0.0 { 4.0 * (score / cap + 8.0 * UNIT) } else { 0.0 };
    let rounded = if dtype == DType::BF16 { 1.01 * BF16_UNIT } else { 0.0 };
    let relative = 2.0 * score + lse + slope + 2.0 * (2.0 * dim + magnitudes.terms as f64 + 16.0) * UNIT + rounded;
    assert_within("o", dtype, &got.o, &o, &magnitudes.o, relative);

    // Both backwards start from one forward.
    let mut expected = Results { o: got.o.clone(), softmax_lse: got.softmax_lse.clone(), ..Results::default() };
    problem.backward(&mut expected);
    let within = |name, dtype, got: &[f32], expected: &[f32], magnitudes: &[f64]| {
        assert_within(name, dtype, got, expected, magnitudes, relative);
    };
    within("grad_q", dtype, &got.grad_q, &expected.grad_q, &magnitudes.grad_q);
    within("grad_k", dtype, &got.grad_k, &expected.grad_k, &magnitudes.grad_k);
    within("grad_v", dtype, &got.grad_v, &expected.grad_v, &magnitudes.grad_v);
    let f32 = DType::F32;
    within("grad_prefix_k", f32, &got.grad_prefix_k, &expected.grad_prefix_k, &magnitudes.grad_prefix_k);
    within("grad_prefix_v", f32, &got.grad_prefix_v, &expected.grad_prefix_v, &magnitudes.grad_prefix_v);
    within("grad_bias", f32, &got.grad_bias, &expected.grad_bias, &magnitudes.grad_bias);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_the_cpu(case in cases(), seed: u64) {
        check(&case, seed);
    }
}

#[test]
fn long_sequences_and_every_tile() {
    let buckets = RelativeBuckets::new(32, 128, false).unwrap();
    for (dtype, head_dim, window, softcap, buckets) in [
        (DType::BF16, 64, None, None, Some(buckets)),
        (DType::BF16, 128, Some(100), None, None),
        (DType::BF16, 256, None, Some(30.0), None),
        (DType::F32, 64, Some(100), Some(30.0), None),
        (DType::F32, 128, None, None, Some(buckets)),
        (DType::F32, 256, None, None, None),
    ] {
        let softmax_scale = (head_dim as f32).powf(-0.5);
        let spec =
            AttentionSpec { num_heads: 2, num_kv_heads: 1, head_dim, softmax_scale, causal: true, window, softcap };
        // Several chunks of queries for the prefix; sequences with and without a cache, and one that sees no key.
        check(
            &Case {
                spec,
                q_lens: vec![300, 20, 9],
                kv_lens: vec![300, 150, 0],
                prefix_len: 66,
                dtype,
                gap: 0,
                buckets,
            },
            3,
        );
    }
}
