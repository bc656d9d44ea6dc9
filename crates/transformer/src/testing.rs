//! What the tests of the ops share: values, f64 references compared element by element, numeric gradients.

use device::philox::Stream;

/// Deterministic values in `[-scale, scale)`.
pub(crate) fn values(len: usize, seed: u64, scale: f32) -> Vec<f32> {
    let stream = Stream::new(seed, 0, 0);
    (0..len as u64).map(|i| (stream.uniform(i) * 2.0 - 1.0) * scale).collect()
}

pub(crate) fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

/// Fails unless every `|got - expected| <= tolerance * max(1, |expected|)`; a NaN fails.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let difference = (f64::from(got) - expected).abs();
        assert!(difference <= tolerance * expected.abs().max(1.0), "element {i}: {got}, expected {expected}");
    }
}

/// Central differences of `f` at `x` in f64, where their own error is about 1e-9.
pub(crate) fn numeric_gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let shifted = |i: usize, h: f64| {
        let mut x = x.to_vec();
        x[i] += h;
        f(&x)
    };
    (0..x.len()).map(|i| (shifted(i, H) - shifted(i, -H)) / (2.0 * H)).collect()
}

/// The inner product that turns a result into a scalar.
pub(crate) fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Results of `compute` with one thread and with four.
pub(crate) fn with_threads<T: Send>(compute: impl Fn() -> T + Sync) -> [T; 2] {
    [1, 4].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(&compute))
}
