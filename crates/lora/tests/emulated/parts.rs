//! What is launched beside the projections: dropout by itself, DoRA's norms, AdaLoRA's penalty.

use device::launch::testing::{self, normal, stored};
use device::philox::Stream;
use device::{DType, Elements};
use half::bf16;
use proptest::prelude::*;
use tunesmith_lora::{Dropout, LoraError, dora, launch, orthogonality};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// The same mask, and every operation rounded as on the CPU: the bits are equal.
    #[test]
    fn dropout_is_that_of_the_cpu(
        len in prop_oneof![0usize..9, 1020usize..1030, 2045usize..2050],
        probability in 0f32..0.9,
        wide: bool,
        add: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let executor = testing::executor(seed);
        let dropout = Dropout::new(probability, Stream::new(seed, 3, 5)).unwrap();
        let (x_buffer, x) = stored(&executor, dtype, normal(DType::F32, len, seed, 0));
        let (mut y_buffer, start) = stored(&executor, dtype, normal(DType::F32, len, seed, 1));
        launch::dropout(&dropout, dtype, len, &x_buffer, launch::Gradient { values: &mut y_buffer, add }).unwrap();
        let dropped = dropout.apply(&x).unwrap();
        let y = dropped.f32().unwrap().iter().zip(start).map(|(x, before)| if add { x + before } else { *x });
        match dtype {
            DType::BF16 => {
                let y: Vec<bf16> = y.map(bf16::from_f32).collect();
                prop_assert_eq!(y_buffer.read::<bf16>().unwrap(), y);
            }
            _ => prop_assert_eq!(y_buffer.read::<f32>().unwrap(), y.collect::<Vec<f32>>()),
        }
    }

    #[test]
    fn the_distance_from_orthonormal_is_that_of_the_cpu(rank in prop_oneof![0usize..9, 15usize..18], near: bool, seed: u64) {
        let executor = testing::executor(seed);
        let mut gram = normal(DType::F32, rank * rank, seed, 0);
        if near {
            gram.iter_mut().for_each(|element| *element *= 1e-4);
            gram.iter_mut().step_by(rank + 1).for_each(|diagonal| *diagonal += 1.0);
        }
        let mut gram_buffer = executor.upload(&gram).unwrap();
        let mut norm = executor.allocate(size_of::<f32>()).unwrap();
        launch::orthogonality(rank, &mut gram_buffer, &mut norm).unwrap();
        let expected = orthogonality(rank, &mut gram).unwrap();
        // Positive terms, squared and added in f64; the root and the quotients are rounded once each to f32.
        let within = |got: f32, expected: f32| (got - expected).abs() <= 2.0 * f32::EPSILON * expected.abs();
        let got = norm.read::<f32>().unwrap()[0];
        prop_assert!(within(got, expected), "{} {}", got, expected);
        for (got, expected) in gram_buffer.read::<f32>().unwrap().into_iter().zip(gram) {
            prop_assert!(within(got, expected), "{} {}", got, expected);
        }
    }

    #[test]
    fn norms_are_those_of_the_cpu(
        outputs in prop_oneof![0usize..9, 126usize..131],
        inputs in prop_oneof![0usize..9, 510usize..516],
        rank in 1usize..6,
        scaling in -2f32..2.0,
        (wide, in_columns) in (any::<bool>(), any::<bool>()),
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let executor = testing::executor(seed);
        let (weight_buffer, weight) = stored(&executor, dtype, normal(DType::F32, outputs * inputs, seed, 0));
        let mut squares = vec![f64::NAN; outputs];
        let on_device = if in_columns {
            dora::column_squares(Elements::F32(&weight), &mut squares).unwrap();
            launch::dora::Squares::of_columns(dtype, [inputs, outputs], &weight_buffer).unwrap()
        } else {
            dora::row_squares(Elements::F32(&weight), &mut squares).unwrap();
            launch::dora::Squares::of_rows(dtype, [outputs, inputs], &weight_buffer).unwrap()
        };
        // Squares of f32 are exact in f64; each sum of positive terms is off by a rounding for each of them.
        let relative = 2.0 * (inputs as f64 + 2.0) * f64::EPSILON;
        for (got, expected) in on_device.read().unwrap().iter().zip(&squares) {
            prop_assert!((got - expected).abs() <= relative * expected, "{} {}", got, expected);
        }

        let (b_buffer, b) = stored(&executor, DType::F32, normal(DType::F32, outputs * rank, seed, 1));
        let (aw_buffer, aw) = stored(&executor, DType::F32, normal(DType::F32, outputs * rank, seed, 2));
        let (bg_buffer, bg) = stored(&executor, DType::F32, normal(DType::F32, outputs * rank, seed, 3));
        let mut norms = vec![f32::NAN; outputs];
        let args = dora::Norms { squares: &squares, lora_b: &b, aw: &aw, bg: &bg, scaling, norms: &mut norms };
        dora::norms(rank, args).unwrap();
        let mut norms_buffer = executor.allocate(outputs * size_of::<f32>()).unwrap();
        launch::dora::norms(rank, launch::dora::Norms {
            squares: &on_device,
            lora_b: &b_buffer,
            aw: &aw_buffer,
            bg: &bg_buffer,
            scaling,
            norms: &mut norms_buffer,
        }).unwrap();
        for (i, (got, &expected)) in norms_buffer.read::<f32>().unwrap().into_iter().zip(&norms).enumerate() {
            // The sum under the root may cancel: its error is that of f64 relative to the magnitudes. The root of a sum that is
            // off by e is off by at most sqrt(e), and is then rounded to f32.
            let s = f64::from(scaling);
            let term = |k: usize| {
                let (b, aw, bg) = (b[i * rank + k], aw[k * outputs + i], bg[i * rank + k]);
                f64::from(2.0 * s as f32 * b * aw).abs() + f64::from(b * bg).abs() * s * s
            };
            let magnitude = squares[i] + (0..rank).map(term).sum::<f64>();
            let error = 4.0 * (inputs + rank + 4) as f64 * f64::EPSILON * magnitude;
            let bound = error.sqrt().min(error / f64::from(expected).max(1e-30)) + f64::from(expected) * 1.2e-7;
            prop_assert!(f64::from((got - expected).abs()) <= bound, "{}, expected {}, bound {}", got, expected, bound);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    let (x, mut y) = (executor.upload(&[1.0f32; 4]).unwrap(), executor.upload(&[7.0f32; 3]).unwrap());
    let dropout = Dropout::new(0.5, Stream::new(0, 0, 0)).unwrap();
    let gradient = launch::Gradient { values: &mut y, add: false };
    let refused = launch::dropout(&dropout, DType::F32, 4, &x, gradient).unwrap_err();
    assert!(matches!(refused, LoraError::Length { argument: "y", shape: [1, 4], got: 3 }));
    let refused = launch::dora::Squares::of_rows(DType::F32, [2, 3], &x).unwrap_err();
    assert!(matches!(refused, LoraError::Length { argument: "weight", shape: [2, 3], got: 4 }));
    let refused = launch::dora::Squares::of_columns(DType::F16, [2, 2], &x).unwrap_err();
    assert!(matches!(refused, LoraError::KernelDType { got: DType::F16 }));
    let refused = launch::orthogonality(2, &mut y, &mut executor.upload(&[0.0f32]).unwrap()).unwrap_err();
    assert!(matches!(refused, LoraError::Length { argument: "gram", shape: [2, 2], got: 3 }));
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 3]);
}
