//! The cross-entropy of a product.

use device::DType;
use device::launch::testing::{self, read, stored};
use gemm::Matrix;
use proptest::prelude::*;
use tunesmith_transformer::cross_entropy::IGNORE_INDEX;
use tunesmith_transformer::launch::cross_entropy::Sums;
use tunesmith_transformer::linear_cross_entropy::{self, Shape};
use tunesmith_transformer::{TransformerError, launch};

use crate::{BF16_UNIT, UNIT, dtype, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_the_cpu(
        labels in proptest::collection::vec(prop_oneof![1 => Just(IGNORE_INDEX), 3 => 0i64..5], 0..14),
        (width, vocab_size) in (1usize..70, 5usize..140),
        softcap in proptest::option::of(5f32..40.0),
        rows_at_once in 1usize..6,
        wide: bool,
        seed: u64,
    ) {
        let (dtype, executor) = (dtype(wide), testing::executor(seed));
        let rows = labels.len();
        let shape = Shape { rows, hidden: width, vocab_size, softcap, precision: DType::F32 };
        let (hidden_buffer, hidden) = stored(&executor, dtype, values(rows * width, seed, 0));
        let scale = 1.0 / (width as f32).sqrt();
        let head = values(vocab_size * width, seed, 1).into_iter().map(|w| w * scale).collect();
        let (head_buffer, head) = stored(&executor, dtype, head);
        let (mut dhidden, mut dhead) = (vec![f32::NAN; hidden.len()], vec![0.0; head.len()]);
        let expected = linear_cross_entropy::forward_backward(shape, linear_cross_entropy::Arguments {
            hidden: &hidden,
            head: Matrix::new(&head[..], vocab_size, width),
            labels: &labels,
            dhidden: Some(&mut dhidden),
            dhead: Some(&mut dhead),
        }).unwrap();

        let on_device_head = gemm::launch::Matrix::new(&head_buffer, dtype, vocab_size, width);
        let (mut dhidden_buffer, _) = stored(&executor, dtype, vec![0.0; hidden.len()]);
        let (mut dhead_buffer, _) = stored(&executor, DType::F32, vec![0.0; head.len()]);
        let mut sums = Sums::new(&executor).unwrap();
        let logits_bytes = rows_at_once * vocab_size * dtype.size_bytes();
        launch::linear_cross_entropy::in_chunks(shape, launch::linear_cross_entropy::Arguments {
            dtype,
            hidden: &hidden_buffer,
            head: on_device_head,
            labels: &labels,
            dhidden: Some(&mut dhidden_buffer),
            dhead: Some(&mut dhead_buffer),
            sums: &mut sums,
        }, logits_bytes).unwrap();
        let got = sums.read().unwrap();
        prop_assert_eq!(got.num_supervised, expected.num_supervised);
        // A logit is a sum of `width` products whose magnitudes add up to less than 8; bf16 rounds it, and the cap of 40 at
        // most is off by a few units. A row's loss and its probabilities follow their logits' errors.
        let logit = 2.0 * (width as f64 + 2.0) * UNIT * 8.0 + 4e-5 + if wide { 0.0 } else { 8.0 * BF16_UNIT };
        let supervised = expected.num_supervised as f64;
        prop_assert!((got.loss - expected.loss).abs() <= 2.0 * logit * supervised, "{} {}", got.loss, expected.loss);
        let loss = read(DType::F32, &sums.loss().unwrap())[0];
        prop_assert_eq!(loss, got.loss as f32);

        // The gradients of a row's logits sum up to at most 2 and are off by twice the error of a logit, in bf16 by a rounding
        // of each; they meet values below 5 of `hidden` and of the head. A gradient is rounded once more where it is stored.
        let rounding = if wide { UNIT } else { BF16_UNIT };
        let of_hidden = 2.0 * (2.0 * logit + 2.0 * rounding) * 5.0 + 4.0 * (vocab_size as f64 + 4.0) * UNIT * 5.0;
        for (i, (&got, &expected)) in read(dtype, &dhidden_buffer).iter().zip(&dhidden).enumerate() {
            let bound = of_hidden + rounding * f64::from(expected).abs();
            prop_assert!(f64::from(got - expected).abs() <= bound, "dhidden {i}: {got}, expected {expected}, {bound}");
        }
        let of_head = supervised * ((4.0 * logit + 2.0 * rounding) * 5.0 + 4.0 * (supervised + 4.0) * UNIT * 5.0);
        for (i, (&got, &expected)) in read(DType::F32, &dhead_buffer).iter().zip(&dhead).enumerate() {
            prop_assert!(f64::from(got - expected).abs() <= of_head, "dhead {i}: {got}, expected {expected}, {of_head}");
        }

        // Without gradients the same losses, however the rows are cut: a row's logits are the same bits.
        let mut again = Sums::new(&executor).unwrap();
        launch::linear_cross_entropy::forward_backward(shape, launch::linear_cross_entropy::Arguments {
            dtype,
            hidden: &hidden_buffer,
            head: on_device_head,
            labels: &labels,
            dhidden: None,
            dhead: None,
            sums: &mut again,
        }).unwrap();
        let again = again.read().unwrap();
        prop_assert!((again.loss - got.loss).abs() <= 1e-12 * got.loss.abs());
        prop_assert_eq!((again.num_supervised, again.num_correct), (got.num_supervised, got.num_correct));
    }
}

#[test]
fn what_does_not_fit_is_refused_before_a_launch() {
    let executor = testing::executor(0);
    let (hidden, head) = (executor.upload(&[1.0f32; 6]).unwrap(), executor.upload(&[1.0f32; 12]).unwrap());
    let mut dhidden = executor.upload(&[7.0f32; 5]).unwrap();
    let mut sums = Sums::new(&executor).unwrap();
    let shape = Shape { rows: 2, hidden: 3, vocab_size: 4, softcap: None, precision: DType::F32 };
    let mut run = |labels: &[i64]| {
        launch::linear_cross_entropy::forward_backward(
            shape,
            launch::linear_cross_entropy::Arguments {
                dtype: DType::F32,
                hidden: &hidden,
                head: gemm::launch::Matrix::new(&head, DType::F32, 4, 3),
                labels,
                dhidden: Some(&mut dhidden),
                dhead: None,
                sums: &mut sums,
            },
        )
        .unwrap_err()
    };
    assert!(matches!(run(&[0, 4]), TransformerError::Label { index: 1, label: 4, vocab_size: 4 }));
    assert!(matches!(run(&[0, 3]), TransformerError::Length { argument: "dhidden", expected: 6, got: 5, .. }));
    assert_eq!(dhidden.read::<f32>().unwrap(), [7.0; 5]);
}
