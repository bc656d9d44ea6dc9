//! Products whose columns have factors.

use device::DType;
use device::launch::Architecture;
use device::launch::testing::{self, normal, read, upload};
use proptest::prelude::*;
use tunesmith_gemm::{ColumnScale, GemmError, Matrix, gemm_scaled, launch};

use crate::{BF16_UNIT, UNIT};

/// The product `[m, k] [n, k]^T` with a bias on both sides: scaled and unscaled, within the bound of a product.
fn check([m, n, k]: [usize; 3], dtype: DType, architecture: Architecture, seed: u64) -> Result<(), TestCaseError> {
    let executor = testing::executor_as(architecture, seed);
    let (a, b) = (normal(dtype, m * k, seed, 0), normal(dtype, n * k, seed, 1));
    let (bias, factors) = (normal(dtype, n, seed, 2), normal(DType::F32, n, seed, 3));
    let reference = |a: &[f32], b: &[f32], bias: &[f32]| {
        let (mut c, mut unscaled) = (vec![0.0; m * n], vec![0.0; m * n]);
        let scale = ColumnScale { factors: &factors, unscaled: Some(&mut unscaled) };
        gemm_scaled(Matrix::new(a, m, k), Matrix::new(b, n, k).transposed(), Some(bias), scale, &mut c).unwrap();
        (c, unscaled)
    };
    let expected = reference(&a, &b, &bias);
    let magnitudes = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
    let (_, size) = reference(&magnitudes(&a), &magnitudes(&b), &magnitudes(&bias));

    let [a, b, bias] = [&a, &b, &bias].map(|values| upload(&executor, dtype, values));
    let [mut c, mut unscaled] = [(); 2].map(|()| executor.allocate(m * n * dtype.size_bytes()).unwrap());
    let factors_buffer = executor.upload(&factors).unwrap();
    let scale = launch::ColumnScale { factors: &factors_buffer, unscaled: Some(&mut unscaled) };
    let (a, b) = (launch::Matrix::new(&a, dtype, m, k), launch::Matrix::new(&b, dtype, n, k).transposed());
    launch::gemm_scaled(a, b, Some(&bias), scale, launch::MatrixMut::new(&mut c, dtype, m, n)).unwrap();
    let mut alone = executor.allocate(m * n * dtype.size_bytes()).unwrap();
    let scale = launch::ColumnScale { factors: &factors_buffer, unscaled: None };
    launch::gemm_scaled(a, b, Some(&bias), scale, launch::MatrixMut::new(&mut alone, dtype, m, n)).unwrap();
    prop_assert_eq!(read(dtype, &alone), read(dtype, &c));

    for (got, expected, is_scaled) in [(read(dtype, &c), expected.0, true), (read(dtype, &unscaled), expected.1, false)]
    {
        for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
            let factor = if is_scaled { f64::from(factors[i % n]).abs() } else { 1.0 };
            // As in the test of products, with one rounding more on each side for the factor.
            let bound = 2.02 * (k as f64 + 5.0) * UNIT * f64::from(size[i]) * factor;
            let stored = if dtype == DType::BF16 { BF16_UNIT * (f64::from(expected).abs() + bound) } else { 0.0 };
            let difference = (f64::from(got) - f64::from(expected)).abs();
            prop_assert!(difference <= bound + stored, "{m} x {n} x {k}, {dtype}: {i}: {got}, expected {expected}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn agrees_with_the_cpu(
        m in prop_oneof![3 => 1usize..70, 1 => 126usize..132],
        n in prop_oneof![1usize..70, 126usize..132],
        k in prop_oneof![0usize..70, Just(64usize)],
        wide: bool,
        hopper: bool,
        seed: u64,
    ) {
        let architecture = if hopper { Architecture::Hopper } else { Architecture::Ampere };
        check([m, n, k], if wide { DType::F32 } else { DType::BF16 }, architecture, seed)?;
    }
}

/// A depth that is summed in slabs, whose sum is scaled; on Hopper with rows that its kernel can read.
#[test]
fn slabs_are_scaled_once() {
    for architecture in [Architecture::Ampere, Architecture::Hopper] {
        check([70, 72, 1096], DType::BF16, architecture, 1).unwrap();
    }
    check([70, 70, 1100], DType::F32, Architecture::Ampere, 2).unwrap();
}

#[test]
fn a_scale_that_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    let (x, mut c) = (executor.upload(&[1.0f32; 6]).unwrap(), executor.upload(&[7.0f32; 4]).unwrap());
    let mut scaled = |factors: &[f32], unscaled: &[f32]| {
        let (factors, mut unscaled) = (executor.upload(factors).unwrap(), executor.upload(unscaled).unwrap());
        let (a, b) = (launch::Matrix::new(&x, DType::F32, 2, 3), launch::Matrix::new(&x, DType::F32, 3, 2));
        let scale = launch::ColumnScale { factors: &factors, unscaled: Some(&mut unscaled) };
        launch::gemm_scaled(a, b, None, scale, launch::MatrixMut::new(&mut c, DType::F32, 2, 2)).unwrap_err()
    };
    assert!(matches!(scaled(&[1.0], &[1.0; 4]), GemmError::Length { operand: "scale", expected: 2, got: 1, .. }));
    assert!(matches!(scaled(&[1.0; 2], &[1.0; 3]), GemmError::Length { operand: "unscaled", expected: 4, got: 3, .. }));
    assert_eq!(c.read::<f32>().unwrap(), [7.0; 4]);
}
