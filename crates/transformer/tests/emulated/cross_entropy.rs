//! Cross-entropy.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::cross_entropy::{self, IGNORE_INDEX, Shape};
use tunesmith_transformer::{TransformerError, launch};

use crate::{assert_within, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_the_cpu(
        labels in proptest::collection::vec(prop_oneof![1 => Just(IGNORE_INDEX), 4 => 0i64..5], 0..6),
        vocab_size in prop_oneof![5usize..12, 2040usize..2060, 4090usize..4100],
        softcap in proptest::option::of(5f32..40.0),
        scale in 0.01f32..2.0,
        wide: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let shape = Shape { rows: labels.len(), vocab_size, softcap };
        let executor = testing::executor(seed);
        let logits = values(shape.rows * vocab_size, seed, 0).into_iter().map(|x| 4.0 * x).collect();
        let (mut logits_buffer, logits) = stored(&executor, dtype, logits);
        let expected = cross_entropy::forward(shape, &logits, &labels).unwrap();
        let mut gradient = logits.clone();
        cross_entropy::forward_backward(shape, &mut gradient, &labels, scale).unwrap();

        let on_device = launch::cross_entropy::Labels::new(&executor, &labels, vocab_size).unwrap();
        let mut sums = launch::cross_entropy::Sums::new(&executor).unwrap();
        launch::cross_entropy::forward(shape, dtype, &logits_buffer, &on_device, &mut sums).unwrap();
        let got = sums.read().unwrap();
        prop_assert_eq!((got.num_supervised, got.num_correct), (expected.num_supervised, expected.num_correct));
        // An exponential is off by at most 4e-7, with a soft cap's error of 40 x 4e-7 in its exponent; sums of positive terms keep
        // the relative error, and a thread's running sum adds a rounding for each of its terms. The logarithm makes it absolute.
        let relative = if softcap.is_some() { 4e-5 } else { 4e-6 };
        prop_assert!((got.loss - expected.loss).abs() <= relative * labels.len() as f64, "{} {}", got.loss, expected.loss);

        launch::cross_entropy::forward_backward(shape, dtype, &mut logits_buffer, &on_device, scale, &mut sums).unwrap();
        let twice = sums.read().unwrap();
        prop_assert_eq!((twice.loss, twice.num_supervised), (2.0 * got.loss, 2 * got.num_supervised));
        assert_within(dtype, &read(dtype, &logits_buffer), &gradient, |_| relative * f64::from(scale));
    }
}

#[test]
fn logits_that_are_no_numbers_are_no_finite_loss() {
    let executor = testing::executor(0);
    let shape = Shape { rows: 1, vocab_size: 3, softcap: None };
    let labels = launch::cross_entropy::Labels::new(&executor, &[1], 3).unwrap();
    let loss = |row: [f32; 3]| {
        let mut sums = launch::cross_entropy::Sums::new(&executor).unwrap();
        let logits = executor.upload(&row).unwrap();
        launch::cross_entropy::forward(shape, DType::F32, &logits, &labels, &mut sums).unwrap();
        sums.read().unwrap().loss
    };
    assert!(loss([0.0, f32::NAN, 0.0]).is_nan());
    assert!(loss([f32::NAN, 0.0, 0.0]).is_nan());
    assert!(loss([f32::INFINITY, 0.0, 0.0]).is_nan());
    // A token that is ruled out takes no share: the loss is ln 2, computed in f64 from exact terms.
    assert!((loss([f32::NEG_INFINITY, 0.0, 0.0]) - 2f64.ln()).abs() <= 1e-15);
    assert_eq!(loss([0.0, f32::NEG_INFINITY, 0.0]), f64::INFINITY);
}

#[test]
fn labels_outside_the_vocabulary_are_refused() {
    let executor = testing::executor(0);
    let refused = launch::cross_entropy::Labels::new(&executor, &[0, 3], 3).unwrap_err();
    assert!(matches!(refused, TransformerError::Label { index: 1, label: 3, vocab_size: 3 }));
    let labels = launch::cross_entropy::Labels::new(&executor, &[2], 3).unwrap();
    let mut sums = launch::cross_entropy::Sums::new(&executor).unwrap();
    let shape = Shape { rows: 1, vocab_size: 2, softcap: None };
    let logits = executor.upload(&[0.0f32; 2]).unwrap();
    let refused = launch::cross_entropy::forward(shape, DType::F32, &logits, &labels, &mut sums).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "vocabulary", expected: 2, got: 3, .. }));
}
