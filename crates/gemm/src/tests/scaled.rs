//! Products whose columns have factors.

use proptest::prelude::*;

use super::oracle::{F32, Operand};
use crate::{ColumnScale, GemmError, Matrix, MatrixMut, Update, gemm, gemm_scaled};

/// With the factors by themselves, behind the product; and the product before.
fn apart(a: Matrix<'_>, b: Matrix<'_>, bias: Option<&[f32]>, factors: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (m, n) = (a.rows(), b.cols());
    let mut unscaled = vec![f32::NAN; m * n];
    let update = bias.map_or(Update::Overwrite, Update::Bias);
    gemm(1.0, a, b, update, MatrixMut::new(&mut unscaled, m, n)).unwrap();
    let scaled = unscaled.iter().enumerate().map(|(i, x)| x * factors[i % n]).collect();
    (scaled, unscaled)
}

fn check([m, n, k]: [usize; 3], transposed: bool, with_bias: bool) {
    let b = super::oracle::Layout { transposed, ..F32 };
    let (a, b) = (Operand::new(m, k, F32, 1), Operand::new(k, n, b, 2));
    let row = |phase: f32| (0..n).map(|i| (i as f32 * 0.7 + phase).sin()).collect::<Vec<_>>();
    let (factors, bias) = (row(0.0), with_bias.then(|| row(1.0)));
    let (mut c, mut unscaled) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
    let scale = ColumnScale { factors: &factors, unscaled: Some(&mut unscaled) };
    gemm_scaled(a.matrix(), b.matrix(), bias.as_deref(), scale, &mut c).unwrap();
    let expected = apart(a.matrix(), b.matrix(), bias.as_deref(), &factors);
    assert_eq!((&c, &unscaled), (&expected.0, &expected.1), "{m} x {n} x {k}");
    let mut alone = vec![f32::NAN; m * n];
    let scale = ColumnScale { factors: &factors, unscaled: None };
    gemm_scaled(a.matrix(), b.matrix(), bias.as_deref(), scale, &mut alone).unwrap();
    assert_eq!(alone, c);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn it_is_the_product_and_then_the_factors_bit_for_bit(
        m in 0usize..70, n in 1usize..70, k in prop_oneof![0usize..5, 60usize..140], transposed: bool, bias: bool,
    ) {
        check([m, n, k], transposed, bias);
    }
}

/// Several passes over the depth, after the last of which the factors come; a product that is computed the other way round.
#[test]
fn factors_come_once() {
    check([64, 65, 70_000], false, true);
    check([700, 20, 130], true, false);
    check([126, 1, 1], true, true);
    check([9, 3000, 520], true, true);
}

#[test]
fn a_scale_that_does_not_fit_is_refused() {
    let (x, mut c) = ([1.0f32; 6], [7.0; 4]);
    let (a, b) = (Matrix::new(&x[..], 2, 3), Matrix::new(&x[..], 3, 2));
    let short = ColumnScale { factors: &x[..1], unscaled: None };
    assert!(matches!(
        gemm_scaled(a, b, None, short, &mut c),
        Err(GemmError::Length { operand: "scale", expected: 2, got: 1, .. })
    ));
    let mut unscaled = [7.0; 3];
    let short = ColumnScale { factors: &x[..2], unscaled: Some(&mut unscaled) };
    assert!(matches!(
        gemm_scaled(a, b, None, short, &mut c),
        Err(GemmError::Length { operand: "unscaled", expected: 4, got: 3, .. })
    ));
    assert_eq!(c, [7.0; 4]);
}
