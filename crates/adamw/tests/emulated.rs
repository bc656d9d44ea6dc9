//! The kernels, emulated, against the CPU implementation.

use device::launch::testing::{self, normal};
use device::launch::{DeviceBuffer, Executor};
use device::{DType, DeviceError};
use half::bf16;
use proptest::prelude::*;
use tunesmith_adamw::{
    AdamW, AdamWError, Codes, Group, Outcome, Step, Step8bit, clip_coefficient, grad_norm, launch, num_code_blocks,
    step, step_8bit,
};

/// Two groups with different rates that meet at `cut`, which need not be aligned.
fn groups(cut: usize, len: usize) -> [Group; 2] {
    [
        Group { range: 0..cut, learning_rate: 1.0, weight_decay: 1.0 },
        Group { range: cut..len, learning_rate: 0.5, weight_decay: 0.0 },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_step_gives_the_bits_of_the_cpu(
        len in prop_oneof![Just(0usize), 1usize..40, 1000usize..2100],
        cut in 0.0f64..=1.0,
        number in 1u64..2000,
        shadowed: bool,
        seed: u64,
    ) {
        let groups = groups((cut * len as f64) as usize, len);
        let (gradients, scale) = (normal(DType::F32, len, seed, 0), 0.37f32);
        let (mut parameters, mut exp_avg) = (normal(DType::F32, len, seed, 1), normal(DType::F32, len, seed, 2));
        let mut exp_avg_sq: Vec<f32> = normal(DType::F32, len, seed, 3).iter().map(|v| v * v).collect();

        let executor = testing::executor(seed);
        let upload = |values: &[f32]| executor.upload(values).unwrap();
        let on_device = [upload(&parameters), upload(&exp_avg), upload(&exp_avg_sq)];
        let [mut p, mut m, mut v] = on_device;
        let mut shadow = executor.allocate(2 * len).unwrap();
        launch::step(&AdamW::default(), launch::Step {
            step: number,
            learning_rate: 1e-3,
            grad_scale: &upload(&[scale]),
            groups: &groups,
            gradients: &upload(&gradients),
            parameters: &mut p,
            exp_avg: &mut m,
            exp_avg_sq: &mut v,
            shadow: shadowed.then_some(&mut shadow),
        }).unwrap();

        step(&AdamW::default(), Step {
            step: number,
            learning_rate: 1e-3,
            grad_scale: scale,
            groups: &groups,
            gradients: &gradients,
            parameters: &mut parameters,
            exp_avg: &mut exp_avg,
            exp_avg_sq: &mut exp_avg_sq,
        }).unwrap();
        prop_assert_eq!(p.read::<f32>().unwrap(), &parameters[..]);
        prop_assert_eq!(m.read::<f32>().unwrap(), exp_avg);
        prop_assert_eq!(v.read::<f32>().unwrap(), exp_avg_sq);
        let shadow: Vec<bf16> = shadow.read().unwrap();
        if shadowed {
            prop_assert!(shadow.iter().zip(&parameters).all(|(&s, &p)| s == bf16::from_f32(p)));
        } else {
            prop_assert!(shadow.iter().all(|s| s.is_nan()), "the f32 kernel wrote a shadow");
        }
    }

    #[test]
    fn a_step_in_8_bits_gives_the_bits_of_the_cpu(
        len in prop_oneof![Just(0usize), 1usize..40, 200usize..300, 1000usize..2100],
        number in 1u64..2000,
        shadowed: bool,
        seed: u64,
    ) {
        let scale = 0.37f32;
        let mut parameters = normal(DType::F32, len, seed, 1);
        let executor = testing::executor(seed);
        let bytes = |site: u32| normal(DType::F32, len, seed, site).iter().map(|x| x.to_bits() as u8).collect::<Vec<u8>>();
        let scales = |site: u32| normal(DType::F32, num_code_blocks(len), seed, site).iter().map(|x| x.abs()).collect::<Vec<f32>>();
        let (mut m, mut v) = ((bytes(2), scales(3)), (bytes(4), scales(5)));
        let upload = |(codes, absmax): &(Vec<u8>, Vec<f32>)| {
            (executor.upload(codes).unwrap(), executor.upload(absmax).unwrap())
        };
        let (mut device_m, mut device_v) = (upload(&m), upload(&v));
        let mut p = executor.upload(&parameters).unwrap();
        let mut shadow = executor.allocate(2 * len).unwrap();
        // A gradient that is NaN, and a block without any.
        let mut gradients = normal(DType::F32, len, seed, 0);
        gradients.iter_mut().take(300).skip(256).for_each(|g| *g = 0.0);
        if seed.is_multiple_of(3) && len > 0 {
            gradients[seed as usize % len] = f32::NAN;
        }
        for number in [number, number + 1] {
            step_8bit(&AdamW::default(), Step8bit {
                step: number,
                learning_rate: 1e-3,
                grad_scale: scale,
                gradients: &gradients,
                parameters: &mut parameters,
                exp_avg: Codes { codes: &mut m.0, absmax: &mut m.1 },
                exp_avg_sq: Codes { codes: &mut v.0, absmax: &mut v.1 },
            }).unwrap();
            launch::step_8bit(&AdamW::default(), launch::Step8bit {
                step: number,
                learning_rate: 1e-3,
                grad_scale: &executor.upload(&[scale]).unwrap(),
                maps: &launch::Maps::new(&executor).unwrap(),
                gradients: &executor.upload(&gradients).unwrap(),
                parameters: &mut p,
                exp_avg: launch::Codes { codes: &mut device_m.0, absmax: &mut device_m.1 },
                exp_avg_sq: launch::Codes { codes: &mut device_v.0, absmax: &mut device_v.1 },
                shadow: shadowed.then_some(&mut shadow),
            }).unwrap();
        }
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        prop_assert!(p.read::<f32>().unwrap().iter().zip(&parameters).all(same));
        prop_assert_eq!(device_m.0.read::<u8>().unwrap(), m.0);
        prop_assert_eq!(device_m.1.read::<f32>().unwrap(), m.1);
        prop_assert_eq!(device_v.0.read::<u8>().unwrap(), v.0);
        prop_assert_eq!(device_v.1.read::<f32>().unwrap(), v.1);
        let shadow: Vec<bf16> = shadow.read().unwrap();
        if shadowed {
            let rounded = |(s, p): (&bf16, &f32)| *s == bf16::from_f32(*p) || s.is_nan() && p.is_nan();
            prop_assert!(shadow.iter().zip(&parameters).all(rounded));
        } else {
            prop_assert!(shadow.iter().all(|s| s.is_nan()), "the f32 kernel wrote a shadow");
        }
    }

    #[test]
    fn the_norm_is_the_cpus_up_to_the_order_of_its_sum(
        len in prop_oneof![Just(0usize), 1usize..40, 16000usize..17000, 40000usize..50000],
        max_norm in 1e-2f32..1e3,
        seed: u64,
    ) {
        let gradients = normal(DType::F32, len, seed, 0);
        let run = |seed: u64| {
            let executor = testing::executor(seed);
            let mut norm = launch::GradNorm::new(&executor, len).unwrap();
            norm.clip(&executor.upload(&gradients).unwrap(), &executor.allocate(0).unwrap(), max_norm).unwrap();
            (norm.outcome().unwrap().norm, norm.grad_scale().read::<f32>().unwrap()[0])
        };
        let (norm, scale) = run(seed);
        let expected = grad_norm(&gradients);
        // A sum of n exact squares, all positive, has a relative error of at most n 2^-53 in any order; the root halves
        // it, and there are two such sums.
        prop_assert!((norm - expected).abs() <= len as f64 * f64::EPSILON * expected, "{norm} {expected}");
        prop_assert_eq!(scale, clip_coefficient(norm, max_norm));
        let (again, _) = run(seed ^ 1);
        prop_assert_eq!(norm.to_bits(), again.to_bits(), "the order of warps changed the sum");
    }
}

/// A training step's end as one graph, with another number and another learning rate each time.
#[test]
fn a_step_in_a_graph_gives_the_bits_of_single_launches() {
    let len = 1500;
    let executor = testing::executor(3);
    let upload = |site| executor.upload(&normal(DType::F32, len, 7, site)).unwrap();
    let mut norm = launch::GradNorm::new(&executor, len).unwrap();
    let losses = executor.upload(&[2.5f32]).unwrap();
    let mut clip_and_step = |step: u64, gradients: &DeviceBuffer, buffers: &mut [DeviceBuffer; 3]| {
        let [parameters, exp_avg, exp_avg_sq] = buffers;
        norm.clip(gradients, &losses, 1.0)?;
        let args = launch::Step {
            step,
            learning_rate: 1e-3 / step as f64,
            grad_scale: norm.grad_scale(),
            groups: &groups(len / 3, len),
            gradients,
            parameters,
            exp_avg,
            exp_avg_sq,
            shadow: None,
        };
        launch::step(&AdamW::default(), args)
    };
    let mut gradients = upload(0);
    let zeros = || executor.upload(&vec![0.0f32; len]).unwrap();
    let [mut single, mut together] = [(); 2].map(|()| [upload(1), zeros(), zeros()]);
    for step in 1..=4 {
        gradients.write(&normal(DType::F32, len, 7, step)).unwrap();
        clip_and_step(step.into(), &gradients, &mut single).unwrap();
        executor.in_graphs(|| clip_and_step(step.into(), &gradients, &mut together)).unwrap();
    }
    assert!(executor.graph_stats().started > 0);
    for (single, together) in single.iter().zip(&together) {
        assert_eq!(single.read::<u32>().unwrap(), together.read::<u32>().unwrap());
    }
}

/// A step whose norm or loss is no number changes nothing, nor does one after it, and what is known stays that of it.
#[test]
fn what_is_no_number_stops_every_update() {
    let executor = testing::executor(0);
    let upload = |values: &[f32]| executor.upload(values).unwrap();
    for (gradient, loss) in [(f32::NAN, 1.0), (f32::INFINITY, 1.0), (1e30, f32::NAN), (1.0, f32::INFINITY)] {
        let mut norm = launch::GradNorm::new(&executor, 2).unwrap();
        let mut buffers = [upload(&[5.0, 6.0]), upload(&[0.0; 2]), upload(&[0.0; 2])];
        let mut step = |number: u64, gradient: f32, losses: &[f32]| {
            let gradients = upload(&[3.0, gradient]);
            norm.clip(&gradients, &upload(losses), 1.0).unwrap();
            let [parameters, exp_avg, exp_avg_sq] = &mut buffers;
            let args = launch::Step {
                step: number,
                learning_rate: 1e-3,
                grad_scale: norm.grad_scale(),
                groups: &groups(1, 2),
                gradients: &gradients,
                parameters,
                exp_avg,
                exp_avg_sq,
                shadow: None,
            };
            launch::step(&AdamW::default(), args).unwrap();
            (norm.outcome().unwrap(), buffers.each_ref().map(|buffer| buffer.read::<f32>().unwrap()))
        };
        let (outcome, before) = step(1, 4.0, &[0.5, 0.25]);
        assert_eq!(outcome, Outcome { norm: 5.0, loss: 0.75, failed: 0 });
        assert_ne!(before[0], [5.0, 6.0]);
        let (first, after) = step(2, gradient, &[2.0, loss]);
        assert!(after == before && first.failed == 1, "{gradient} {loss}: {first:?}");
        assert!(!(first.loss.is_finite() && (first.norm as f32).is_finite()), "{first:?}");
        let (second, after) = step(3, 4.0, &[1.0]);
        assert!(after == before && second.failed == 2, "{gradient} {loss}: {second:?}");
        assert_eq!((second.norm.to_bits(), second.loss.to_bits()), (first.norm.to_bits(), first.loss.to_bits()));
        assert!(norm.grad_scale().read::<f32>().unwrap()[0].is_nan());
    }
}

#[test]
fn what_does_not_fit_is_refused_before_a_launch() {
    let executor = testing::executor(0);
    let mut norm = launch::GradNorm::new(&executor, 3).unwrap();
    let losses = executor.upload(&[1.0f32]).unwrap();
    let refused = norm.clip(&executor.upload(&[1.0f32; 2]).unwrap(), &losses, 1.0).unwrap_err();
    assert!(matches!(refused, AdamWError::Length { argument: "gradients", expected: 3, got: 2 }));
    let elsewhere = Executor::emulated(0).upload(&[1.0f32; 3]).unwrap();
    assert!(matches!(norm.clip(&elsewhere, &losses, 1.0), Err(AdamWError::Device(DeviceError::MixedExecutors))));
    assert_eq!(norm.outcome().unwrap(), Outcome::default());

    let (mut parameters, f32s) =
        (executor.upload(&[1.0f32; 300]).unwrap(), |len| executor.upload(&vec![0.0f32; len]).unwrap());
    let codes = || executor.upload(&[0u8; 300]).unwrap();
    let (mut m, mut m_absmax, mut v, mut v_absmax) = (codes(), f32s(2), codes(), f32s(1));
    let refused = launch::step_8bit(
        &AdamW::default(),
        launch::Step8bit {
            step: 1,
            learning_rate: 1e-3,
            grad_scale: norm.grad_scale(),
            maps: &launch::Maps::new(&executor).unwrap(),
            gradients: &f32s(300),
            parameters: &mut parameters,
            exp_avg: launch::Codes { codes: &mut m, absmax: &mut m_absmax },
            exp_avg_sq: launch::Codes { codes: &mut v, absmax: &mut v_absmax },
            shadow: None,
        },
    );
    assert!(matches!(refused, Err(AdamWError::Length { argument: "exp_avg_sq.absmax", expected: 2, got: 1 })));
    assert_eq!(parameters.read::<f32>().unwrap(), [1.0; 300]);
}
