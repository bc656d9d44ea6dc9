//! Compares an op's gradients with finite differences, and an op on a device with the CPU. For tests of this crate and of those
//! above it.

use device::{DType, Device};

use crate::{Gradients, Parameters, Result, Shape, Tensor, backward, no_grad, ops};

/// Largest relative difference between the analytic and the numeric gradient of `weights . f(inputs)`, over `inputs`.
///
/// The numeric gradient is the central difference `(f(x + h) - f(x - h)) / 2h` with `h = 2^-7` in f32: its own error is
/// about `h^2 / 6` of the third derivative plus `eps / h`, so well-scaled smooth ops agree to about 1e-3. The difference
/// is taken over all elements of an input at once, `|analytic - numeric| / (|analytic| + |numeric|)` in the 2-norm.
///
/// # Errors
/// Those of `f`.
pub fn gradcheck(inputs: &[(Shape, Vec<f32>)], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<f64> {
    let leaves = inputs.iter().map(|(shape, values)| Tensor::leaf(*shape, values)).collect::<Result<Vec<_>>>()?;
    let y = f(&leaves)?;
    let weights: Vec<f32> = (0..y.count()).map(|i| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0).collect();
    let mut gradients = Gradients::new(&leaves)?;
    backward(&ops::weighted_sum(&y, &weights)?, 1.0, &mut gradients)?;

    let value = |leaves: &[Tensor]| -> Result<f64> {
        let y = no_grad(|| f(leaves))?.to_vec();
        Ok(y.iter().zip(&weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum())
    };
    const H: f32 = 1.0 / 128.0;
    let mut worst = 0.0f64;
    for (index, (shape, values)) in inputs.iter().enumerate() {
        let analytic = gradients.of(&leaves[index]).expect("collected above");
        let (mut difference, mut size) = (0.0, (0.0, 0.0));
        for i in 0..values.len() {
            let shifted = |h: f32| -> Result<f64> {
                let mut values = values.clone();
                values[i] += h;
                let mut leaves = leaves.clone();
                leaves[index] = Tensor::leaf(*shape, &values)?;
                value(&leaves)
            };
            let numeric = (shifted(H)? - shifted(-H)?) / (2.0 * f64::from(H));
            let analytic = f64::from(analytic[i]);
            difference += (analytic - numeric).powi(2);
            size.0 += analytic.powi(2);
            size.1 += numeric.powi(2);
        }
        let relative = difference.sqrt() / (size.0.sqrt() + size.1.sqrt()).max(1e-6);
        // Not `f64::max`: a NaN must reach the caller's comparison.
        worst = if relative <= worst { worst } else { relative };
    }
    Ok(worst)
}

/// Largest relative difference, in the 2-norm, between what `f` and its gradients are on `device` and on the CPU, where the
/// inputs are rounded to `dtype` and `f` computes in it on the device.
///
/// # Errors
/// Those of `f`.
pub fn parity(
    device: Device,
    dtype: DType,
    inputs: &[(Shape, Vec<f32>)],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<f64> {
    let run = |device: Device| -> Result<Vec<Vec<f32>>> {
        let declared = inputs.iter().enumerate().map(|(index, (shape, _))| (index.to_string(), *shape));
        let parameters = Parameters::zeros_on(device, declared)?;
        for (index, (_, values)) in inputs.iter().enumerate() {
            parameters.set(index, &rounded(values, dtype))?;
        }
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let converted: Vec<Tensor> = leaves.iter().map(|leaf| ops::convert(leaf, dtype)).collect::<Result<_>>()?;
        let y = f(&converted)?;
        let weights: Vec<f32> = (0..y.count()).map(|i| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0).collect();
        let mut gradients = Gradients::new(&leaves)?;
        backward(&ops::weighted_sum(&y, &weights)?, 1.0, &mut gradients)?;
        let gradients = gradients.to_host()?;
        let of = |leaf| gradients.of(leaf).expect("collected above").to_vec();
        Ok([y.to_vec()].into_iter().chain(leaves.iter().map(of)).collect())
    };
    let mut worst = 0.0;
    for (there, here) in run(device)?.iter().zip(run(Device::Cpu)?) {
        let norm = |of: &mut dyn Iterator<Item = f64>| of.map(|value| value * value).sum::<f64>().sqrt();
        let difference = norm(&mut there.iter().zip(&here).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        let relative = difference / norm(&mut here.iter().map(|&value| f64::from(value))).max(1e-6);
        worst = if relative <= worst { worst } else { relative };
    }
    Ok(worst)
}

fn rounded(values: &[f32], dtype: DType) -> Vec<f32> {
    match dtype {
        DType::F32 => values.to_vec(),
        DType::BF16 => values.iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect(),
        DType::F16 => values.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect(),
    }
}

/// Deterministic values in `[-1, 1)` for tests.
pub fn values(shape: impl Into<Shape>, seed: u64) -> (Shape, Vec<f32>) {
    let shape = shape.into();
    let stream = device::philox::Stream::new(seed, 0, 0);
    (shape, (0..shape.count() as u64).map(|i| stream.uniform(i) * 2.0 - 1.0).collect())
}
