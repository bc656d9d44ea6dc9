//! The kernels, emulated, against the CPU implementation.

use device::launch::testing;
use device::philox::Stream;
use gemm::Update;
use proptest::prelude::*;
use tunesmith_lstm::{Backward, Forward, LstmError, LstmShape, Saved, forward, launch};

fn values(len: usize, seed: u64, site: u32, scale: f32) -> Vec<f32> {
    let stream = Stream::new(seed, 0, site);
    (0..len as u64).map(|i| (stream.uniform(i) * 2.0 - 1.0) * scale).collect()
}

/// Each side is within 2e-6 of the largest from an evaluation in f64 (`src/tests.rs`).
#[track_caller]
fn assert_close(got: &[f32], expected: &[f32]) {
    let scale = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= 4e-6 * scale, "element {i}: {got}, expected {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn agrees_with_the_cpu(
        steps in 0usize..12,
        size in prop_oneof![1usize..12, 30usize..35, 62usize..67],
        reverse: bool,
        add: bool,
        seed: u64,
    ) {
        let shape = LstmShape::new(steps, size, reverse).unwrap();
        let input_gates = values(4 * steps * size, seed, 0, 2.0);
        let weight_hh = values(4 * size * size, seed, 1, 1.0 / (size as f32).sqrt());
        let grad_h = values(steps * size, seed, 2, 1.0);
        let (mut h, mut gates, mut cells) = (vec![0.0; steps * size], vec![0.0; 4 * steps * size], vec![0.0; steps * size]);
        let arguments = Forward {
            input_gates: &input_gates, weight_hh: &weight_hh, h: &mut h, gates: &mut gates, cells: &mut cells,
        };
        forward(&shape, arguments).unwrap();

        let executor = testing::executor(seed);
        let [on_device_inputs, on_device_weight, on_device_grad_h] =
            [&input_gates, &weight_hh, &grad_h].map(|values| executor.upload(values).unwrap());
        let empty = |len: usize| executor.allocate(len * size_of::<f32>()).unwrap();
        let (mut on_device_h, mut on_device_gates, mut on_device_cells) =
            (empty(h.len()), empty(gates.len()), empty(cells.len()));
        launch::forward(&shape, launch::Forward {
            input_gates: &on_device_inputs,
            weight_hh: &on_device_weight,
            h: &mut on_device_h,
            gates: &mut on_device_gates,
            cells: &mut on_device_cells,
        }).unwrap();
        assert_close(&on_device_h.read::<f32>().unwrap(), &h);
        assert_close(&on_device_gates.read::<f32>().unwrap(), &gates);
        assert_close(&on_device_cells.read::<f32>().unwrap(), &cells);

        let saved = Saved { weight_hh: &weight_hh, h: &h, gates: &gates, cells: &cells };
        let backward = Backward::new(&shape, saved, &grad_h).unwrap();
        let start = values(weight_hh.len(), seed, 3, 1.0);
        let (mut grad_weight, mut on_device_grad_weight) = (start.clone(), executor.upload(&start).unwrap());
        let update = if add { Update::Accumulate } else { Update::Overwrite };
        backward.weight_hh(update, &mut grad_weight).unwrap();
        let saved = launch::Saved {
            weight_hh: &on_device_weight, h: &on_device_h, gates: &on_device_gates, cells: &on_device_cells,
        };
        let on_device = launch::Backward::new(&shape, saved, &on_device_grad_h).unwrap();
        on_device.weight_hh(add, &mut on_device_grad_weight).unwrap();
        assert_close(&on_device_grad_weight.read::<f32>().unwrap(), &grad_weight);
        let grad_gates = on_device.into_input_gates().read::<f32>().unwrap();
        assert_close(&grad_gates, backward.into_input_gates().f32().unwrap());
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let executor = testing::executor(0);
    let shape = LstmShape::new(2, 1, false).unwrap();
    let [inputs, weight] = [8usize, 3].map(|len| executor.upload(&vec![0.0f32; len]).unwrap());
    let [mut h, mut gates, mut cells] = [2usize, 8, 2].map(|len| executor.upload(&vec![7.0f32; len]).unwrap());
    let arguments =
        launch::Forward { input_gates: &inputs, weight_hh: &weight, h: &mut h, gates: &mut gates, cells: &mut cells };
    let refused = launch::forward(&shape, arguments).unwrap_err();
    assert!(matches!(refused, LstmError::Length { argument: "weight_hh", shape: [4, 1], got: 3 }));
    assert_eq!(h.read::<f32>().unwrap(), [7.0; 2]);
}
