//! Compares an op's gradients with finite differences. For tests of this crate and of those above it.

use crate::{Gradients, Result, Shape, Tensor, backward, no_grad, ops};

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

/// Deterministic values in `[-1, 1)` for tests.
pub fn values(shape: impl Into<Shape>, seed: u64) -> (Shape, Vec<f32>) {
    let shape = shape.into();
    let stream = device::philox::Stream::new(seed, 0, 0);
    (shape, (0..shape.count() as u64).map(|i| stream.uniform(i) * 2.0 - 1.0).collect())
}
