//! Sums of all elements.

use device::DType;
use device::launch::DeviceBuffer;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::{TransformerError, launch, sums};

use crate::{UNIT, assert_within, dtype, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agree_with_the_cpu(
        len in prop_oneof![0usize..9, 2040usize..2060, 4090usize..4100],
        wide: bool,
        seed: u64,
    ) {
        let (dtype, executor) = (dtype(wide), testing::executor(seed));
        let (x_buffer, x) = stored(&executor, dtype, values(len, seed, 0));
        let (other_buffer, other) = stored(&executor, DType::F32, values(len, seed, 1));
        let mut sum = executor.allocate(size_of::<f32>()).unwrap();
        let read_sum = |sum: &DeviceBuffer| read(DType::F32, sum)[0];
        // Sums are f64 on both sides: what is left is the rounding to f32, of either side where they round apart.
        let expected = sums::inner_product(&x, &other).unwrap();
        let magnitude: f64 = x.iter().zip(&other).map(|(x, w)| f64::from(x * w).abs()).sum();
        launch::sums::inner_product(dtype, len, &x_buffer, &other_buffer, &mut sum).unwrap();
        let error = (f64::from(read_sum(&sum)) - expected).abs();
        prop_assert!(error <= UNIT * expected.abs() + 1e-12 * magnitude, "{error:e}");

        let mut differences = vec![f32::NAN; len];
        let mut differences_buffer = executor.allocate(len * size_of::<f32>()).unwrap();
        let expected = sums::squared_error(&x, &other, &mut differences).unwrap();
        launch::sums::squared_error(dtype, len, &x_buffer, &other_buffer, &mut differences_buffer, &mut sum).unwrap();
        let error = (f64::from(read_sum(&sum)) - expected).abs();
        prop_assert!(error <= (UNIT + 1e-12) * expected, "{error:e}");
        assert_within(DType::F32, &read(DType::F32, &differences_buffer), &differences, |_| 0.0);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    let (x, mut sum) = (executor.upload(&[1.0f32; 2]).unwrap(), executor.upload(&[7.0f32; 2]).unwrap());
    let refused = launch::sums::inner_product(DType::F32, 2, &x, &x, &mut sum).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "sum", expected: 1, got: 2, .. }));
    assert_eq!(sum.read::<f32>().unwrap(), [7.0; 2]);
}
