//! Layer norm.
//!
//! ```text
//! mean = mean(x),  rstd = 1 / sqrt(mean((x - mean)^2) + eps)        one for each row
//! n    = (x - mean) * rstd
//! y    = n * w + b
//!
//! dx   = rstd * (dy * w - mean(dy * w) - n * mean(dy * w * n))
//! dw   = sum over rows of dy * n,   db = sum over rows of dy
//! ```
//!
//! Source: Ba, Kiros and Hinton 2016, "Layer Normalization".

use device::simd::{Isa, Kernel, dispatch};
use device::{Elements, parallel};

use crate::blocks::{rows_per_block, sum_columns, zip_rows_mut};
use crate::error::check_len;
use crate::reduce::{dot, fold, sum};
use crate::widen::{Widened, with_f32};
use crate::{Gradient, Result};

const OP: &str = "layer_norm";

/// Sizes and constants of one norm.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows that are normalised, each by itself.
    pub rows: usize,
    /// Elements of a row, of the weight and of the bias.
    pub hidden: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl Shape {
    fn check(&self, argument: &'static str, got: usize) -> Result<()> {
        check_len(OP, argument, &[self.rows, self.hidden], got)
    }

    fn check_statistics(&self, statistics: &[f32]) -> Result<()> {
        check_len(OP, "statistics", &[self.rows, 2], statistics.len())
    }
}

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, hidden]`
    pub x: Elements<'a>,
    /// `[hidden]`
    pub weight: Elements<'a>,
    /// `[hidden]`
    pub bias: Option<Elements<'a>>,
    /// `[rows, hidden]`, written.
    pub y: &'a mut [f32],
    /// `[rows, 2]`, written: mean and rstd of each row, what [`backward`] needs besides `x`.
    pub statistics: &'a mut [f32],
}

/// Normalises every row.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn forward(shape: Shape, args: Forward<'_>) -> Result<()> {
    let Forward { x, weight, bias, y, statistics } = args;
    let hidden = shape.hidden;
    shape.check("x", x.len())?;
    shape.check("y", y.len())?;
    shape.check_statistics(statistics)?;
    check_len(OP, "weight", &[hidden], weight.len())?;
    let weight = Widened::new(weight, 0.0)?;
    let bias = bias.map(|bias| check_len(OP, "bias", &[hidden], bias.len()).and_then(|()| Widened::new(bias, 0.0)));
    let bias = bias.transpose()?;
    let (weight, bias) = (weight.as_slice()?, bias.as_ref().map(Widened::as_slice).transpose()?);
    zip_rows_mut((y, hidden), (statistics, 2), |start, y, statistics| {
        with_f32(x, start * hidden..start * hidden + y.len(), |x| {
            dispatch(ForwardRows { x, weight, bias, eps: shape.eps, y, statistics });
        });
    });
    Ok(())
}

struct ForwardRows<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    eps: f32,
    y: &'a mut [f32],
    statistics: &'a mut [f32],
}

impl Kernel for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.weight.len();
        let rows = self.x.chunks_exact(hidden).zip(self.y.chunks_exact_mut(hidden));
        for ((x, y), statistics) in rows.zip(self.statistics.chunks_exact_mut(2)) {
            let mean = sum(x) / hidden as f32;
            // Two passes: `mean(x^2) - mean^2` would cancel where the mean is large.
            let squares = fold(x, x, x, |sum, x, _, _| I::mul_add(x - mean, x - mean, sum));
            let rstd = 1.0 / (squares / hidden as f32 + self.eps).sqrt();
            statistics.copy_from_slice(&[mean, rstd]);
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(self.weight) {
                *y = (x - mean) * rstd * w;
            }
            if let Some(bias) = self.bias {
                y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
    }
}

/// Arguments of [`backward`].
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows, hidden]`, as given to [`forward`], or rounded.
    pub x: Elements<'a>,
    /// `[hidden]`, as given to [`forward`].
    pub weight: Elements<'a>,
    /// `[rows, 2]`, as [`forward`] wrote it.
    pub statistics: &'a [f32],
    /// `[rows, hidden]`
    pub dy: &'a [f32],
    /// `[rows, hidden]`, if wanted.
    pub dx: Option<Gradient<'a>>,
    /// `[hidden]`, if wanted.
    pub dweight: Option<Gradient<'a>>,
    /// `[hidden]`, if wanted.
    pub dbias: Option<Gradient<'a>>,
}

/// Gradients of `x`, the weight and the bias.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn backward(shape: Shape, args: Backward<'_>) -> Result<()> {
    let Backward { x, weight, statistics, dy, dx, dweight, dbias } = args;
    let hidden = shape.hidden;
    shape.check("x", x.len())?;
    shape.check("dy", dy.len())?;
    shape.check_statistics(statistics)?;
    check_len(OP, "weight", &[hidden], weight.len())?;
    if let Some(dx) = &dx {
        shape.check("dx", dx.values.len())?;
    }
    for (argument, gradient) in [("dweight", &dweight), ("dbias", &dbias)] {
        if let Some(gradient) = gradient {
            check_len(OP, argument, &[hidden], gradient.values.len())?;
        }
    }
    if let Some(dx) = dx {
        let weight = Widened::new(weight, 0.0)?;
        let weight = weight.as_slice()?;
        parallel::rows_mut(dx.values, hidden, rows_per_block(hidden), |start, out| {
            let part = start * hidden..start * hidden + out.len();
            let (dy, statistics) = (&dy[part.clone()], &statistics[2 * start..]);
            with_f32(x, part, |x| dispatch(BackwardRows { x, weight, statistics, dy, dx: out, add: dx.add }));
        });
    }
    if let Some(dweight) = dweight {
        sum_columns(shape.rows, hidden, dweight, |rows, sums| {
            let part = rows.start * hidden..rows.end * hidden;
            let (statistics, dy) = (&statistics[2 * rows.start..2 * rows.end], &dy[part.clone()]);
            with_f32(x, part, |x| dispatch(WeightRows { x, statistics, dy, sums }));
        })?;
    }
    if let Some(dbias) = dbias {
        sum_columns(shape.rows, hidden, dbias, |rows, sums| {
            dispatch(BiasRows { dy: &dy[rows.start * hidden..rows.end * hidden], sums });
        })?;
    }
    Ok(())
}

struct BackwardRows<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    statistics: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    add: bool,
}

impl Kernel for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (hidden, weight) = (self.weight.len(), self.weight);
        let inputs = self.x.chunks_exact(hidden).zip(self.dy.chunks_exact(hidden));
        let inputs = inputs.zip(self.statistics.chunks_exact(2));
        for (dx, ((x, dy), statistics)) in self.dx.chunks_exact_mut(hidden).zip(inputs) {
            let (mean, rstd) = (statistics[0], statistics[1]);
            let mean_g = dot::<I>(dy, weight) / hidden as f32;
            let mean_gn = fold(dy, weight, x, |sum, dy, w, x| I::mul_add(dy * w, x - mean, sum)) * rstd / hidden as f32;
            for (((dx, &x), &dy), &w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
                let n = (x - mean) * rstd;
                let value = rstd * (I::mul_add(dy, w, -mean_g) - n * mean_gn);
                *dx = if self.add { *dx + value } else { value };
            }
        }
    }
}

struct WeightRows<'a> {
    x: &'a [f32],
    statistics: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for WeightRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.sums.len();
        let rows = self.x.chunks_exact(hidden).zip(self.dy.chunks_exact(hidden));
        for ((x, dy), statistics) in rows.zip(self.statistics.chunks_exact(2)) {
            let (mean, rstd) = (statistics[0], statistics[1]);
            for ((sum, &x), &dy) in self.sums.iter_mut().zip(x).zip(dy) {
                *sum = I::mul_add(dy, (x - mean) * rstd, *sum);
            }
        }
    }
}

struct BiasRows<'a> {
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for BiasRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for dy in self.dy.chunks_exact(self.sums.len()) {
            self.sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransformerError;
    use crate::testing::{assert_close, inner, numeric_gradient, values, widen, with_threads};
    use proptest::prelude::*;

    fn reference(shape: Shape, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let rows = x.chunks(shape.hidden).flat_map(|x| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let rstd = 1.0 / (variance + f64::from(shape.eps)).sqrt();
            x.iter().zip(weight).zip(bias).map(move |((x, w), b)| (x - mean) * rstd * w + b)
        });
        rows.collect()
    }

    fn run(shape: Shape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
        let (mut y, mut statistics) = (vec![f32::NAN; x.len()], vec![f32::NAN; 2 * shape.rows]);
        let bias = bias.map(Elements::F32);
        forward(shape, Forward { x: x.into(), weight: weight.into(), bias, y: &mut y, statistics: &mut statistics })
            .unwrap();
        (y, statistics)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_the_formula(rows in 1usize..5, hidden in 1usize..140, seed: u64) {
            // eps is larger than in models, so that a row of one or two elements has bounded gradients.
            let shape = Shape { rows, hidden, eps: 1e-2 };
            let x: Vec<f32> = values(rows * hidden, seed, 2.0).into_iter().map(|x| x + 3.0).collect();
            let (weight, bias) = (values(hidden, seed ^ 1, 1.0), values(hidden, seed ^ 2, 1.0));
            let dy = values(rows * hidden, seed ^ 3, 1.0);
            let (wide_x, wide_w, wide_b, wide_dy) = (widen(&x), widen(&weight), widen(&bias), widen(&dy));
            let (y, statistics) = run(shape, &x, &weight, Some(&bias));
            // The mean of values near 3 is rounded at 2e-7, and rstd reaches 10.
            assert_close(&y, &reference(shape, &wide_x, &wide_w, &wide_b), 5e-6);

            let (mut dx, mut dweight, mut dbias) = (vec![1.0; x.len()], vec![f32::NAN; hidden], vec![f32::NAN; hidden]);
            backward(shape, Backward {
                x: x[..].into(),
                weight: (&weight[..]).into(),
                statistics: &statistics,
                dy: &dy,
                dx: Some(Gradient::accumulate(&mut dx)),
                dweight: Some(Gradient::overwrite(&mut dweight)),
                dbias: Some(Gradient::overwrite(&mut dbias)),
            }).unwrap();
            let numeric = numeric_gradient(&wide_x, |x| inner(&reference(shape, x, &wide_w, &wide_b), &wide_dy));
            assert_close(&dx, &numeric.iter().map(|g| g + 1.0).collect::<Vec<_>>(), 5e-5);
            let numeric = numeric_gradient(&wide_w, |w| inner(&reference(shape, &wide_x, w, &wide_b), &wide_dy));
            assert_close(&dweight, &numeric, 2e-5);
            let numeric = numeric_gradient(&wide_b, |b| inner(&reference(shape, &wide_x, &wide_w, b), &wide_dy));
            assert_close(&dbias, &numeric, 2e-6);
        }
    }

    #[test]
    fn a_large_mean_does_not_cancel() {
        let shape = Shape { rows: 1, hidden: 4, eps: 0.0 };
        // Exact in f32: mean 4096, deviations of 1.
        let (y, _) = run(shape, &[4095.0, 4097.0, 4095.0, 4097.0], &[1.0; 4], None);
        assert_eq!(y, [-1.0, 1.0, -1.0, 1.0]);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = Shape { rows: 600, hidden: 100, eps: 1e-5 };
        let (x, weight, dy) = (values(60_000, 1, 1.0), values(100, 2, 1.0), values(60_000, 3, 1.0));
        let [one, four] = with_threads(|| {
            let (y, statistics) = run(shape, &x, &weight, None);
            let mut dweight = vec![0.0; 100];
            let (weight, dweight_out) = ((&weight[..]).into(), Some(Gradient::overwrite(&mut dweight)));
            let statistics = &statistics[..];
            let args =
                Backward { x: x[..].into(), weight, statistics, dy: &dy, dx: None, dweight: dweight_out, dbias: None };
            backward(shape, args).unwrap();
            (y, dweight)
        });
        assert!(one == four);
    }

    #[test]
    fn lengths_are_checked() {
        let shape = Shape { rows: 1, hidden: 2, eps: 1e-5 };
        let (mut y, mut statistics) = ([0.0; 2], [0.0; 2]);
        let (weight, bias) = (Elements::F32(&[1.0; 2]), Some(Elements::F32(&[1.0; 3])));
        let args = Forward { x: Elements::F32(&[1.0; 2]), weight, bias, y: &mut y, statistics: &mut statistics };
        let refused = forward(shape, args);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "bias", expected: 2, got: 3, .. })));
    }
}
