//! The root mean square norm.

use device::launch::DeviceBuffer;
use device::launch::testing::{self, read, stored};
use device::{DType, DeviceError};
use proptest::prelude::*;
use tunesmith_transformer::{Gradient, TransformerError, launch, rms_norm};

use crate::{UNIT, assert_within, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_the_cpu(
        rows in prop_oneof![0usize..4, 63usize..67],
        hidden in prop_oneof![1usize..9, 250usize..260, Just(576usize), 1020usize..1030],
        unit_offset: bool,
        wide: bool,
        add: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let (shape, len) = (rms_norm::Shape { rows, hidden, eps: 1e-5, unit_offset }, rows * hidden);
        let executor = testing::executor(seed);
        let (on_device_x, x) = stored(&executor, dtype, values(len, seed, 0));
        let (on_device_weight, weight) = stored(&executor, dtype, values(hidden, seed, 1));
        let (on_device_dy, dy) = stored(&executor, dtype, values(len, seed, 2));

        let (mut y, mut rstd) = (vec![0.0; len], vec![0.0; rows]);
        rms_norm::forward(shape, rms_norm::Forward { x: x[..].into(), weight: weight[..].into(), y: &mut y, rstd: &mut rstd }).unwrap();
        let mut on_device_y = executor.allocate(len * dtype.size_bytes()).unwrap();
        let mut on_device_rstd = executor.allocate(rows * size_of::<f32>()).unwrap();
        launch::rms_norm::forward(shape, launch::rms_norm::Forward {
            dtype, x: &on_device_x, weight: &on_device_weight, y: &mut on_device_y, rstd: &mut on_device_rstd,
        }).unwrap();
        // A term passes through at most hidden / 64 + 8 additions on the CPU and hidden / 256 + 16 in the kernel, with one
        // rounding each and one of its product; the terms of the mean square are positive, so its relative error is at most
        // the sum of both, and the root halves it. Six more roundings make rstd and y.
        let sum = hidden as f64 / 64.0 + hidden as f64 / 256.0 + 26.0;
        let relative = (sum / 2.0 + 2.0 * 6.0) * UNIT;
        assert_within(DType::F32, &read(DType::F32, &on_device_rstd), &rstd, |i| relative * f64::from(rstd[i]));
        assert_within(dtype, &read(dtype, &on_device_y), &y, |i| relative * f64::from(y[i]).abs());

        let (on_device_start, start) = stored(&executor, dtype, values(len, seed, 3));
        let (on_device_start_weight, start_weight) = stored(&executor, DType::F32, values(hidden, seed, 4));
        let (mut dx, mut dweight) = (start.clone(), start_weight.clone());
        // Both backwards start from one rstd.
        let rstd = read(DType::F32, &on_device_rstd);
        rms_norm::backward(shape, rms_norm::Backward {
            x: x[..].into(),
            weight: weight[..].into(),
            rstd: &rstd,
            dy: &dy,
            dx: Some(Gradient { values: &mut dx, add }),
            dweight: Some(Gradient { values: &mut dweight, add }),
        }).unwrap();
        let (mut on_device_dx, mut on_device_dweight) = (on_device_start, on_device_start_weight);
        launch::rms_norm::backward(shape, launch::rms_norm::Backward {
            dtype,
            x: &on_device_x,
            weight: &on_device_weight,
            rstd: &on_device_rstd,
            dy: &on_device_dy,
            dx: Some(launch::Gradient { values: &mut on_device_dx, add }),
            dweight: Some(launch::Gradient { values: &mut on_device_dweight, add }),
        }).unwrap();
        let factor = |column: usize| f64::from(weight[column]) + f64::from(u8::from(unit_offset));
        // The sum of dy w x cancels: its error is relative to the sum of magnitudes. What it enters, and the other terms,
        // pass through at most eight roundings on each side.
        let magnitude: Vec<f64> = (0..rows)
            .map(|row| (0..hidden).map(|c| (f64::from(dy[row * hidden + c]) * factor(c) * f64::from(x[row * hidden + c])).abs()).sum())
            .collect();
        assert_within(dtype, &read(dtype, &on_device_dx), &dx, |i| {
            let (row, column) = (i / hidden, i % hidden);
            let r = f64::from(rstd[row]);
            let slope = (f64::from(x[i]) * r.powi(3) * magnitude[row] / hidden as f64).abs();
            let direct = (r * f64::from(dy[i]) * factor(column)).abs();
            (slope * (sum + 16.0) + (direct + f64::from(start[i]).abs()) * 16.0) * UNIT
        });
        // A sum over rows: at most one addition for each row, one for each block and three roundings of a term, both sides.
        assert_within(DType::F32, &read(DType::F32, &on_device_dweight), &dweight, |column| {
            let terms = (0..rows).map(|row| {
                let i = row * hidden + column;
                (f64::from(dy[i]) * f64::from(x[i]) * f64::from(rstd[row])).abs()
            });
            2.0 * (rows as f64 + 5.0) * UNIT * (terms.sum::<f64>() + f64::from(start_weight[column]).abs())
        });
    }
}

#[test]
fn what_does_not_fit_is_refused_before_a_launch() {
    let executor = testing::executor(0);
    let shape = rms_norm::Shape { rows: 2, hidden: 3, eps: 1e-6, unit_offset: false };
    let (x, weight) = (executor.upload(&[1.0f32; 6]).unwrap(), executor.upload(&[1.0f32; 3]).unwrap());
    let (mut y, mut rstd) = (executor.upload(&[7.0f32; 6]).unwrap(), executor.upload(&[7.0f32; 2]).unwrap());
    let mut run = |dtype, x: &DeviceBuffer, weight: &DeviceBuffer| {
        let args = launch::rms_norm::Forward { dtype, x, weight, y: &mut y, rstd: &mut rstd };
        launch::rms_norm::forward(shape, args).unwrap_err()
    };
    let short = run(DType::F32, &weight, &weight);
    assert!(matches!(short, TransformerError::Length { argument: "x", expected: 6, got: 3, .. }));
    assert!(matches!(run(DType::F16, &x, &weight), TransformerError::KernelDType { got: DType::F16, .. }));
    let elsewhere = testing::executor(0).upload(&[1.0f32; 3]).unwrap();
    let mixed = run(DType::F32, &x, &elsewhere);
    assert!(matches!(mixed, TransformerError::Device(DeviceError::MixedExecutors)));
    assert_eq!((y.read::<f32>().unwrap(), rstd.read::<f32>().unwrap()), (vec![7.0; 6], vec![7.0; 2]));
}
