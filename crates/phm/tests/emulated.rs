//! The kernels, emulated, against the CPU implementation.

use device::launch::testing::{self, UNIT};
use device::philox::Stream;
use proptest::prelude::*;
use tunesmith_phm::{Factors, Gradient, PhmError, PhmShape, ProductGradients, forward, grad_rule, launch};

/// Between -1 and 1.
fn values(len: usize, seed: u64, site: u32) -> Vec<f32> {
    let stream = Stream::new(seed, 0, site);
    (0..len as u64).map(|i| stream.uniform(i) * 2.0 - 1.0).collect()
}

/// Two sums of `terms` products below `size`, each with two roundings for a term.
#[track_caller]
fn assert_close(got: &[f32], expected: &[f32], terms: usize, size: f32) {
    assert_eq!(got.len(), expected.len());
    let bound = 2.0 * (2 * terms + 2) as f32 * UNIT as f32 * (terms as f32 * size + 1.0);
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= bound, "element {i}: {got}, expected {expected}, bound {bound}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn agrees_with_the_cpu(
        n in 1usize..5,
        p in prop_oneof![1usize..9, 62usize..67],
        q in prop_oneof![1usize..9, 30usize..35],
        rank in 1usize..4,
        add: bool,
        seed: u64,
    ) {
        let shape = PhmShape::new(n, p, q, rank).unwrap();
        let (rule, left, right) = (values(n * n * n, seed, 0), values(n * p * rank, seed, 1), values(n * rank * q, seed, 2));
        let factors = Factors { rule: &rule, left: &left, right: &right };
        let executor = testing::executor(seed);
        let [a, l, r] = [&rule, &left, &right].map(|values| executor.upload(values).unwrap());
        let on_device = launch::Factors { rule: &a, left: &l, right: &r };
        let mut weight = vec![f32::NAN; n * q * n * p];
        forward(&shape, factors, &mut weight).unwrap();
        let mut on_device_weight = executor.allocate(weight.len() * size_of::<f32>()).unwrap();
        launch::forward(&shape, on_device, &mut on_device_weight).unwrap();
        // A product of factors is below its rank.
        assert_close(&on_device_weight.read::<f32>().unwrap(), &weight, n * rank, rank as f32);

        let grad_weight = values(weight.len(), seed, 3);
        let on_device_grad = executor.upload(&grad_weight).unwrap();
        let start = [rule.len(), left.len(), right.len()].map(|len| values(len, seed, 4));
        let [mut grad_a, mut grad_l, mut grad_r] = start.clone();
        let [mut on_device_a, mut on_device_l, mut on_device_r] = start.map(|values| executor.upload(&values).unwrap());
        grad_rule(&shape, factors, &grad_weight, Gradient { values: &mut grad_a, add }).unwrap();
        let gradient = launch::Gradient { values: &mut on_device_a, add };
        launch::grad_rule(&shape, on_device, &on_device_grad, gradient).unwrap();
        assert_close(&on_device_a.read::<f32>().unwrap(), &grad_a, p * q * rank, 1.0);

        let products = ProductGradients::new(&shape, factors, &grad_weight).unwrap();
        let on_device_products = launch::ProductGradients::new(&shape, on_device, &on_device_grad).unwrap();
        products.left(Gradient { values: &mut grad_l, add }).unwrap();
        on_device_products.left(launch::Gradient { values: &mut on_device_l, add }).unwrap();
        // A gradient of a product is a sum of n^2 products below 1.
        let size = (n * n) as f32;
        assert_close(&on_device_l.read::<f32>().unwrap(), &grad_l, q + n * n, size);
        products.right(Gradient { values: &mut grad_r, add }).unwrap();
        on_device_products.right(launch::Gradient { values: &mut on_device_r, add }).unwrap();
        assert_close(&on_device_r.read::<f32>().unwrap(), &grad_r, p + n * n, size);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let executor = testing::executor(0);
    let shape = PhmShape::new(1, 2, 1, 1).unwrap();
    let [one, two, mut weight] = [1usize, 2, 3].map(|len| executor.upload(&vec![7.0f32; len]).unwrap());
    let factors = launch::Factors { rule: &one, left: &two, right: &one };
    let refused = launch::forward(&shape, factors, &mut weight).unwrap_err();
    assert!(matches!(refused, PhmError::Length { argument: "weight", expected: 2, got: 3 }));
    assert_eq!(weight.read::<f32>().unwrap(), [7.0; 3]);
}
