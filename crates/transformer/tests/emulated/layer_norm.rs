//! Layer norm.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::{Gradient, TransformerError, launch, layer_norm};

use crate::{UNIT, assert_within, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_the_cpu(
        rows in prop_oneof![0usize..4, 63usize..67],
        hidden in prop_oneof![1usize..9, 250usize..260, Just(576usize), 1020usize..1030],
        with_bias: bool,
        wide: bool,
        add: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        // A row of one element has no variance: eps keeps rstd at 10.
        let (shape, len) = (layer_norm::Shape { rows, hidden, eps: 1e-2 }, rows * hidden);
        let executor = testing::executor(seed);
        let (on_device_x, x) = stored(&executor, dtype, values(len, seed, 0));
        let (on_device_weight, weight) = stored(&executor, dtype, values(hidden, seed, 1));
        let (on_device_bias, bias) = stored(&executor, dtype, values(hidden, seed, 2));
        let (on_device_dy, dy) = stored(&executor, dtype, values(len, seed, 3));

        let (mut y, mut statistics) = (vec![0.0; len], vec![0.0; 2 * rows]);
        layer_norm::forward(shape, layer_norm::Forward {
            x: x[..].into(),
            weight: weight[..].into(),
            bias: with_bias.then_some(bias[..].into()),
            y: &mut y,
            statistics: &mut statistics,
        }).unwrap();
        let mut on_device_y = executor.allocate(len * dtype.size_bytes()).unwrap();
        let mut on_device_statistics = executor.allocate(2 * rows * size_of::<f32>()).unwrap();
        launch::layer_norm::forward(shape, launch::layer_norm::Forward {
            dtype,
            x: &on_device_x,
            weight: &on_device_weight,
            bias: with_bias.then_some(&on_device_bias),
            y: &mut on_device_y,
            statistics: &mut on_device_statistics,
        }).unwrap();
        // A term passes through at most hidden / 64 + 8 additions on the CPU and hidden / 256 + 16 in the kernel. The mean's
        // error is relative to the mean magnitude of x; it enters the deviations, whose squares are then all positive.
        let sum = hidden as f64 / 64.0 + hidden as f64 / 256.0 + 26.0;
        let of_row = |values: &[f32], row: usize| values[row * hidden..(row + 1) * hidden].to_vec();
        let mean_error: Vec<f64> = (0..rows)
            .map(|row| sum * UNIT * of_row(&x, row).iter().map(|x| f64::from(x.abs())).sum::<f64>() / hidden as f64)
            .collect();
        let rstd = |row: usize| f64::from(statistics[2 * row + 1]);
        // An error d of the mean moves the variance by d^2, which is below the bound on rounding.
        let rstd_error = (sum / 2.0 + 12.0) * UNIT;
        assert_within(DType::F32, &read(DType::F32, &on_device_statistics), &statistics, |i| {
            if i % 2 == 0 { mean_error[i / 2] } else { rstd_error * f64::from(statistics[i]) }
        });
        assert_within(dtype, &read(dtype, &on_device_y), &y, |i| {
            let (row, column) = (i / hidden, i % hidden);
            let w = f64::from(weight[column]).abs();
            let deviation = (f64::from(x[i]) - f64::from(statistics[2 * row])).abs() + mean_error[row];
            let b = if with_bias { f64::from(bias[column]).abs() } else { 0.0 };
            w * rstd(row) * (mean_error[row] + deviation * (rstd_error + 8.0 * UNIT)) + 2.0 * b * UNIT
        });

        let (on_device_start, start) = stored(&executor, dtype, values(len, seed, 4));
        let (mut dx, mut dweight, mut dbias) = (start.clone(), vec![1.0f32; hidden], vec![1.0f32; hidden]);
        // Both backwards start from one set of statistics.
        let statistics = read(DType::F32, &on_device_statistics);
        layer_norm::backward(shape, layer_norm::Backward {
            x: x[..].into(),
            weight: weight[..].into(),
            statistics: &statistics,
            dy: &dy,
            dx: Some(Gradient { values: &mut dx, add }),
            dweight: Some(Gradient { values: &mut dweight, add }),
            dbias: Some(Gradient { values: &mut dbias, add }),
        }).unwrap();
        let mut on_device_dx = on_device_start;
        let [mut on_device_dweight, mut on_device_dbias] = [(); 2].map(|()| executor.upload(&vec![1.0f32; hidden]).unwrap());
        launch::layer_norm::backward(shape, launch::layer_norm::Backward {
            dtype,
            x: &on_device_x,
            weight: &on_device_weight,
            statistics: &on_device_statistics,
            dy: &on_device_dy,
            dx: Some(launch::Gradient { values: &mut on_device_dx, add }),
            dweight: Some(launch::Gradient { values: &mut on_device_dweight, add }),
            dbias: Some(launch::Gradient { values: &mut on_device_dbias, add }),
        }).unwrap();
        let normed = |i: usize| {
            let row = i / hidden;
            (f64::from(x[i]) - f64::from(statistics[2 * row])).abs() * f64::from(statistics[2 * row + 1])
        };
        let g = |i: usize| (f64::from(dy[i]) * f64::from(weight[i % hidden])).abs();
        // Both means cancel: their errors are relative to sums of magnitudes.
        assert_within(dtype, &read(dtype, &on_device_dx), &dx, |i| {
            let (row, n) = (i / hidden, hidden as f64);
            let elements = || row * hidden..(row + 1) * hidden;
            let mean_g: f64 = elements().map(g).sum::<f64>() / n;
            let mean_gn: f64 = elements().map(|i| g(i) * normed(i)).sum::<f64>() / n;
            let r = f64::from(statistics[2 * row + 1]);
            let terms = mean_g + normed(i) * mean_gn + g(i);
            ((sum + 20.0) * r * terms + 4.0 * f64::from(start[i]).abs()) * UNIT
        });
        // A sum over rows: at most one addition for each row, one for each block and four roundings of a term, both sides.
        let column_bound = |column: usize, term: &dyn Fn(usize) -> f64| {
            let terms: f64 = (0..rows).map(|row| term(row * hidden + column)).sum();
            2.0 * (rows as f64 + 6.0) * UNIT * (terms + 1.0)
        };
        let dy_times_n = |i: usize| f64::from(dy[i]).abs() * normed(i);
        assert_within(DType::F32, &read(DType::F32, &on_device_dweight), &dweight, |c| column_bound(c, &dy_times_n));
        let dy_alone = |i: usize| f64::from(dy[i]).abs();
        assert_within(DType::F32, &read(DType::F32, &on_device_dbias), &dbias, |c| column_bound(c, &dy_alone));
    }
}

#[test]
fn what_does_not_fit_is_refused_before_a_launch() {
    let executor = testing::executor(0);
    let shape = layer_norm::Shape { rows: 2, hidden: 3, eps: 1e-6 };
    let (x, weight) = (executor.upload(&[1.0f32; 6]).unwrap(), executor.upload(&[1.0f32; 3]).unwrap());
    let (mut y, mut statistics) = (executor.upload(&[7.0f32; 6]).unwrap(), executor.upload(&[7.0f32; 4]).unwrap());
    let args = launch::layer_norm::Forward {
        dtype: DType::F32,
        x: &x,
        weight: &weight,
        bias: Some(&x),
        y: &mut y,
        statistics: &mut statistics,
    };
    let refused = launch::layer_norm::forward(shape, args).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "bias", expected: 3, got: 6, .. }));
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 6]);
}
