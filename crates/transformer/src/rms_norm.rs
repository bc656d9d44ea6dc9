//! Root mean square norm.
//!
//! ```text
//! rstd = 1 / sqrt(mean(x^2) + eps)            one for each row
//! y    = x * rstd * w                         w is the weight, plus 1 with `unit_offset` (Gemma)
//!
//! dx   = rstd * (dy * w) - x * rstd^3 * mean(dy * w * x)
//! dw   = sum over rows of dy * x * rstd
//! ```
//!
//! Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization". A norm of each head is the same op on
//! `rows = num_tokens * num_heads` rows of `head_dim`.

use device::simd::{Isa, Kernel, dispatch};
use device::{Elements, parallel};

use crate::blocks::{rows_per_block, sum_columns, zip_rows_mut};
use crate::error::check_len;
use crate::reduce::{dot, dot3};
use crate::widen::{Widened, with_f32};
use crate::{Gradient, Result};

const OP: &str = "rms_norm";

/// Sizes and constants of one norm.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows that are normalised, each by itself.
    pub rows: usize,
    /// Elements of a row, and of the weight.
    pub hidden: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// Whether the factor is `1 + weight`.
    pub unit_offset: bool,
}

impl Shape {
    fn check(&self, argument: &'static str, got: usize) -> Result<()> {
        check_len(OP, argument, &[self.rows, self.hidden], got)
    }

    fn factor<'a>(&self, weight: Elements<'a>) -> Result<Widened<'a>> {
        check_len(OP, "weight", &[self.hidden], weight.len())?;
        Widened::new(weight, if self.unit_offset { 1.0 } else { 0.0 })
    }
}

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, hidden]`
    pub x: Elements<'a>,
    /// `[hidden]`
    pub weight: Elements<'a>,
    /// `[rows, hidden]`, written.
    pub y: &'a mut [f32],
    /// `[rows]`, written: what [`backward`] needs besides `x`.
    pub rstd: &'a mut [f32],
}

/// Normalises every row.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn forward(shape: Shape, args: Forward<'_>) -> Result<()> {
    shape.check("x", args.x.len())?;
    shape.check("y", args.y.len())?;
    check_len(OP, "rstd", &[shape.rows], args.rstd.len())?;
    let factor = shape.factor(args.weight)?;
    let (weight, hidden) = (factor.as_slice()?, shape.hidden);
    zip_rows_mut((args.y, hidden), (args.rstd, 1), |start, y, rstd| {
        with_f32(args.x, start * hidden..start * hidden + y.len(), |x| {
            dispatch(ForwardRows { x, weight, eps: shape.eps, y, rstd });
        });
    });
    Ok(())
}

struct ForwardRows<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
    rstd: &'a mut [f32],
}

impl Kernel for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.weight.len();
        let rows = self.x.chunks_exact(hidden).zip(self.y.chunks_exact_mut(hidden)).zip(self.rstd);
        for ((x, y), rstd) in rows {
            *rstd = 1.0 / (dot::<I>(x, x) / hidden as f32 + self.eps).sqrt();
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(self.weight) {
                *y = x * *rstd * w;
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
    /// `[rows]`, as [`forward`] wrote it.
    pub rstd: &'a [f32],
    /// `[rows, hidden]`
    pub dy: &'a [f32],
    /// `[rows, hidden]`, if wanted.
    pub dx: Option<Gradient<'a>>,
    /// `[hidden]`, if wanted.
    pub dweight: Option<Gradient<'a>>,
}

/// Gradients of `x` and of the weight.
///
/// # Errors
/// [`crate::TransformerError::Length`] for a slice that does not fit `shape`.
pub fn backward(shape: Shape, args: Backward<'_>) -> Result<()> {
    let Backward { x, weight, rstd, dy, dx, dweight } = args;
    shape.check("x", x.len())?;
    shape.check("dy", dy.len())?;
    check_len(OP, "rstd", &[shape.rows], rstd.len())?;
    let hidden = shape.hidden;
    if let Some(dx) = &dx {
        shape.check("dx", dx.values.len())?;
    }
    if let Some(dweight) = &dweight {
        check_len(OP, "dweight", &[hidden], dweight.values.len())?;
    }
    if let Some(dx) = dx {
        let factor = shape.factor(weight)?;
        let weight = factor.as_slice()?;
        parallel::rows_mut(dx.values, hidden, rows_per_block(hidden), |start, out| {
            let part = start * hidden..start * hidden + out.len();
            let (rstd, dy) = (&rstd[start..], &dy[part.clone()]);
            with_f32(x, part, |x| dispatch(BackwardRows { x, weight, rstd, dy, dx: out, add: dx.add }));
        });
    }
    if let Some(dweight) = dweight {
        sum_columns(shape.rows, hidden, dweight, |rows, sums| {
            let part = rows.start * hidden..rows.end * hidden;
            let (rstd, dy) = (&rstd[rows], &dy[part.clone()]);
            with_f32(x, part, |x| dispatch(WeightRows { x, rstd, dy, sums }));
        })?;
    }
    Ok(())
}

struct BackwardRows<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    rstd: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    add: bool,
}

impl Kernel for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (hidden, weight) = (self.weight.len(), self.weight);
        let inputs = self.x.chunks_exact(hidden).zip(self.dy.chunks_exact(hidden)).zip(self.rstd);
        for (dx, ((x, dy), &rstd)) in self.dx.chunks_exact_mut(hidden).zip(inputs) {
            let slope = -rstd * rstd * rstd * dot3::<I>(dy, weight, x) / hidden as f32;
            for (((dx, &x), &dy), &w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
                let value = I::mul_add(slope, x, rstd * dy * w);
                *dx = if self.add { *dx + value } else { value };
            }
        }
    }
}

struct WeightRows<'a> {
    x: &'a [f32],
    rstd: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for WeightRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.sums.len();
        let rows = self.x.chunks_exact(hidden).zip(self.dy.chunks_exact(hidden)).zip(self.rstd);
        for ((x, dy), &rstd) in rows {
            for ((sum, &x), &dy) in self.sums.iter_mut().zip(x).zip(dy) {
                *sum = I::mul_add(dy, x * rstd, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransformerError;
    use crate::testing::{assert_close, inner, numeric_gradient, values, widen, with_threads};
    use half::bf16;
    use proptest::prelude::*;

    fn reference(shape: Shape, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let rows = x.chunks(shape.hidden).flat_map(|x| {
            let rstd = 1.0 / (inner(x, x) / x.len() as f64 + f64::from(shape.eps)).sqrt();
            x.iter().zip(weight).map(move |(x, w)| x * rstd * (w + f64::from(u8::from(shape.unit_offset))))
        });
        rows.collect()
    }

    fn run(shape: Shape, x: &[f32], weight: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut y, mut rstd) = (vec![f32::NAN; x.len()], vec![f32::NAN; shape.rows]);
        forward(shape, Forward { x: x.into(), weight: weight.into(), y: &mut y, rstd: &mut rstd }).unwrap();
        (y, rstd)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_the_formula(rows in 1usize..5, hidden in 1usize..140, unit_offset: bool, seed: u64) {
            let shape = Shape { rows, hidden, eps: 1e-5, unit_offset };
            let (x, weight) = (values(rows * hidden, seed, 2.0), values(hidden, seed ^ 1, 1.0));
            let dy = values(rows * hidden, seed ^ 2, 1.0);
            let (y, rstd) = run(shape, &x, &weight);
            let (wide_x, wide_w, wide_dy) = (widen(&x), widen(&weight), widen(&dy));
            // A sum of 140 terms in f32 and a handful of roundings.
            assert_close(&y, &reference(shape, &wide_x, &wide_w), 2e-6);

            let (mut dx, mut dweight) = (vec![f32::NAN; x.len()], vec![1.0; hidden]);
            let (gradient_x, gradient_w) = (Gradient::overwrite(&mut dx), Gradient::accumulate(&mut dweight));
            backward(shape, Backward {
                x: x[..].into(), weight: (&weight[..]).into(), rstd: &rstd, dy: &dy, dx: Some(gradient_x), dweight: Some(gradient_w),
            }).unwrap();
            let numeric = numeric_gradient(&wide_x, |x| inner(&reference(shape, x, &wide_w), &wide_dy));
            // Relative to the largest: tiny rows have gradients up to 1 / sqrt(eps), with cancelling terms of that size.
            let scale = numeric.iter().fold(1.0f64, |max, g| max.max(g.abs()));
            let relative = |v: &[f64]| v.iter().map(|v| v / scale).collect::<Vec<_>>();
            assert_close(&dx.iter().map(|v| v / scale as f32).collect::<Vec<_>>(), &relative(&numeric), 1e-5);
            let numeric = numeric_gradient(&wide_w, |w| inner(&reference(shape, &wide_x, w), &wide_dy));
            assert_close(&dweight, &numeric.iter().map(|g| g + 1.0).collect::<Vec<_>>(), 5e-6);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = Shape { rows: 600, hidden: 576, eps: 1e-6, unit_offset: false };
        let (x, weight, dy) = (values(600 * 576, 1, 1.0), values(576, 2, 1.0), values(600 * 576, 3, 1.0));
        let [one, four] = with_threads(|| {
            let (y, rstd) = run(shape, &x, &weight);
            let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; 576]);
            let (gradient_x, gradient_w) = (Gradient::overwrite(&mut dx), Gradient::overwrite(&mut dweight));
            let weight = (&weight[..]).into();
            let (dx_out, dweight_out) = (Some(gradient_x), Some(gradient_w));
            backward(
                shape,
                Backward { x: x[..].into(), weight, rstd: &rstd, dy: &dy, dx: dx_out, dweight: dweight_out },
            )
            .unwrap();
            (y, dx, dweight)
        });
        assert!(one == four);
    }

    #[test]
    fn a_bf16_weight_is_its_f32_values() {
        let shape = Shape { rows: 2, hidden: 5, eps: 1e-6, unit_offset: true };
        let x = values(10, 1, 1.0);
        let stored: Vec<bf16> = values(5, 2, 1.0).into_iter().map(bf16::from_f32).collect();
        let (mut y, mut rstd) = (vec![0.0; 10], vec![0.0; 2]);
        forward(shape, Forward { x: x[..].into(), weight: stored[..].into(), y: &mut y, rstd: &mut rstd }).unwrap();
        assert_eq!(y, run(shape, &x, &stored.iter().map(|w| w.to_f32()).collect::<Vec<_>>()).0);
    }

    #[test]
    fn lengths_are_checked_before_anything_is_written() {
        let shape = Shape { rows: 2, hidden: 3, eps: 1e-6, unit_offset: false };
        let (weight, mut y, mut rstd) = ([1.0f32; 3], [7.0; 6], [7.0; 2]);
        let args = Forward { x: Elements::F32(&[1.0; 5]), weight: (&weight[..]).into(), y: &mut y, rstd: &mut rstd };
        let refused = forward(shape, args);
        assert!(matches!(refused, Err(TransformerError::Length { argument: "x", expected: 6, got: 5, .. })));
        assert_eq!((y, rstd), ([7.0; 6], [7.0; 2]));
    }
}
