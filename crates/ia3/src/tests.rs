//! Laws, an f64 oracle, finite differences, faults.

use device::philox::Stream;
use proptest::prelude::*;

use crate::{Backward, Forward, Ia3Error, Ia3Shape, ROWS, backward, forward};

fn values(len: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, 0, 0);
    (0..len as u64).map(|i| 2.0 * stream.uniform(i) - 1.0).collect()
}

fn scaled(shape: Ia3Shape, x: &[f32], ia3_l: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    forward(shape, Forward { x, ia3_l, y: &mut y }).unwrap();
    y
}

/// `(grad_x, grad_ia3_l)`.
fn gradients(shape: Ia3Shape, x: &[f32], ia3_l: &[f32], grad_y: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut grad_x, mut grad_ia3_l) = (vec![f32::NAN; x.len()], vec![f32::NAN; ia3_l.len()]);
    let args = Backward { x, ia3_l, grad_y, grad_x: Some(&mut grad_x), grad_ia3_l: Some(&mut grad_ia3_l) };
    backward(shape, args).unwrap();
    (grad_x, grad_ia3_l)
}

/// A shape with operands: x, ia3_l, grad_y.
type Operands = (Ia3Shape, Vec<f32>, Vec<f32>, Vec<f32>);

fn operands() -> impl Strategy<Value = Operands> {
    let num_tokens = prop_oneof![0usize..5, 60usize..70, 120usize..300];
    (num_tokens, prop_oneof![0usize..20, Just(64), Just(100)], any::<u64>()).prop_map(|(num_tokens, features, seed)| {
        let (shape, len) = (Ia3Shape { num_tokens, features }, num_tokens * features);
        (shape, values(len, seed), values(features, seed ^ 1), values(len, seed ^ 2))
    })
}

proptest! {
    #[test]
    fn ones_change_nothing((shape, x, _, grad_y) in operands()) {
        let ones = vec![1.0; shape.features];
        prop_assert_eq!(&scaled(shape, &x, &ones), &x);
        prop_assert_eq!(gradients(shape, &x, &ones, &grad_y).0, grad_y);
    }

    #[test]
    fn agrees_with_f64((shape, x, ia3_l, grad_y) in operands()) {
        let y = scaled(shape, &x, &ia3_l);
        let (grad_x, grad_ia3_l) = gradients(shape, &x, &ia3_l, &grad_y);
        for i in 0..x.len() {
            let l = f64::from(ia3_l[i % shape.features]);
            prop_assert_eq!(y[i], (f64::from(x[i]) * l) as f32);
            prop_assert_eq!(grad_x[i], (f64::from(grad_y[i]) * l) as f32);
        }
        for (c, &got) in grad_ia3_l.iter().enumerate() {
            let terms = (0..shape.num_tokens).map(|t| t * shape.features + c).map(|i| f64::from(x[i]) * f64::from(grad_y[i]));
            let (sum, magnitude) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            // The bound of the crate's page.
            let bound = (ROWS + shape.num_tokens / ROWS) as f64 * 2f64.powi(-24) * magnitude;
            prop_assert!((f64::from(got) - sum).abs() <= bound, "{c}: {got} {sum}");
        }
    }

    #[test]
    fn permuting_tokens_permutes_rows((shape, x, ia3_l, _) in operands()) {
        prop_assume!(shape.features > 0);
        let reversed = |x: &[f32]| x.chunks(shape.features).rev().flatten().copied().collect::<Vec<_>>();
        prop_assert_eq!(scaled(shape, &reversed(&x), &ia3_l), reversed(&scaled(shape, &x, &ia3_l)));
    }

    #[test]
    fn threads_change_nothing((shape, x, ia3_l, grad_y) in operands()) {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (scaled(shape, &x, &ia3_l), gradients(shape, &x, &ia3_l, &grad_y)))
        };
        prop_assert_eq!(on(1), on(3));
    }

    #[test]
    fn a_gradient_that_is_not_asked_for_does_not_change_the_other((shape, x, ia3_l, grad_y) in operands()) {
        let both = gradients(shape, &x, &ia3_l, &grad_y);
        let (mut grad_x, mut grad_ia3_l) = (vec![f32::NAN; x.len()], vec![f32::NAN; shape.features]);
        let args = |grad_x, grad_ia3_l| Backward { x: &x, ia3_l: &ia3_l, grad_y: &grad_y, grad_x, grad_ia3_l };
        backward(shape, args(Some(&mut grad_x), None)).unwrap();
        backward(shape, args(None, Some(&mut grad_ia3_l))).unwrap();
        backward(shape, args(None, None)).unwrap();
        prop_assert_eq!((grad_x, grad_ia3_l), both);
    }
}

#[test]
fn finite_differences() {
    let shape = Ia3Shape { num_tokens: 70, features: 5 };
    let (x, ia3_l, grad_y) = (values(350, 1), values(5, 2), values(350, 3));
    let value = |x: &[f32], ia3_l: &[f32]| -> f64 {
        scaled(shape, x, ia3_l).iter().zip(&grad_y).map(|(&y, &g)| f64::from(y) * f64::from(g)).sum()
    };
    let (grad_x, grad_ia3_l) = gradients(shape, &x, &ia3_l, &grad_y);
    const H: f32 = 0.25;
    let shifted = |values: &[f32], i: usize, by: f32| {
        let mut values = values.to_vec();
        values[i] += by;
        values
    };
    // Bilinear: the central difference is exact up to the rounding of 350 products below 1, eps / h each.
    for (i, &gradient) in grad_x.iter().enumerate() {
        let numeric = (value(&shifted(&x, i, H), &ia3_l) - value(&shifted(&x, i, -H), &ia3_l)) / 0.5;
        assert!((f64::from(gradient) - numeric).abs() <= 1e-5, "x {i}: {gradient} {numeric}");
    }
    for (i, &gradient) in grad_ia3_l.iter().enumerate() {
        let numeric = (value(&x, &shifted(&ia3_l, i, H)) - value(&x, &shifted(&ia3_l, i, -H))) / 0.5;
        assert!((f64::from(gradient) - numeric).abs() <= 1e-4, "ia3_l {i}: {gradient} {numeric}");
    }
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_written() {
    let shape = Ia3Shape { num_tokens: 2, features: 3 };
    let (x, ia3_l, mut y) = ([1.0; 6], [1.0; 3], [7.0; 6]);
    let error = forward(shape, Forward { x: &x[1..], ia3_l: &ia3_l, y: &mut y }).unwrap_err();
    assert_eq!(error.to_string(), "ia3: `x` holds 5 elements, expected 6");
    let error = forward(shape, Forward { x: &x, ia3_l: &ia3_l[1..], y: &mut y }).unwrap_err();
    assert!(matches!(error, Ia3Error::Length { argument: "ia3_l", expected: 3, got: 2 }));
    let args = Backward { x: &x, ia3_l: &ia3_l, grad_y: &x, grad_x: Some(&mut y[1..]), grad_ia3_l: None };
    assert!(matches!(backward(shape, args), Err(Ia3Error::Length { argument: "grad_x", .. })));
    let args = Backward { x: &x, ia3_l: &ia3_l, grad_y: &x, grad_x: None, grad_ia3_l: Some(&mut y[..4]) };
    assert!(matches!(backward(shape, args), Err(Ia3Error::Length { argument: "grad_ia3_l", .. })));
    let overflowing = Ia3Shape { num_tokens: usize::MAX, features: 2 };
    assert!(forward(overflowing, Forward { x: &x, ia3_l: &ia3_l[..2], y: &mut y }).is_err());
    assert_eq!(y, [7.0; 6]);
}
