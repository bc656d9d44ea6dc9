//! Gradients of the parts of a weight.

use device::{Buffer, DType, Device, parallel};

use crate::forward::axpy;
use crate::shape::check;
use crate::{Factors, Gradient, PhmError, PhmShape};

/// Elements of the factors' gradients that are computed as one piece of work.
const ELEMENTS: usize = 64;

impl Gradient<'_> {
    /// Writes `value(index)` to every element, `block` of them as one piece of work.
    fn write(self, block: usize, value: impl Fn(usize) -> f32 + Sync) {
        let add = self.add;
        parallel::rows_mut(self.values, 1, block, |index, out| {
            for (index, out) in (index..).zip(out) {
                *out = value(index) + if add { *out } else { 0.0 };
            }
        });
    }
}

/// The gradient of the rule, `[n, n, n]`, given that of the weight.
///
/// # Errors
/// [`PhmError::Length`]; [`PhmError::Device`] without memory.
pub fn grad_rule(
    shape: &PhmShape,
    factors: Factors<'_>,
    grad_weight: &[f32],
    grad: Gradient<'_>,
) -> Result<(), PhmError> {
    factors.check(shape)?;
    check("grad_weight", shape.weight(), grad_weight.len())?;
    check("grad_rule", shape.rule(), grad.values.len())?;
    let PhmShape { n, p, q, .. } = *shape;
    let products = factors.products(shape)?;
    let products = products.f32()?;
    grad.write(1, |index| {
        let (i, a, b) = (index / (n * n), index / n % n, index % n);
        let rows = (0..q).map(|column| {
            let grad = &grad_weight[((b * q + column) * n + a) * p..][..p];
            let product = &products[(i * q + column) * p..][..p];
            grad.iter().zip(product).map(|(g, m)| g * m).sum::<f32>()
        });
        rows.sum()
    });
    Ok(())
}

/// The gradients of `M_i`, which those of both factors are made of.
#[derive(Debug)]
pub struct ProductGradients<'a> {
    shape: PhmShape,
    factors: Factors<'a>,
    /// Their transposes, `[n, Q, P]`.
    products: Buffer,
}

impl<'a> ProductGradients<'a> {
    /// Checks the arguments and computes them, given the gradient of the weight.
    ///
    /// # Errors
    /// [`PhmError::Length`]; [`PhmError::Device`] without memory.
    pub fn new(shape: &PhmShape, factors: Factors<'a>, grad_weight: &[f32]) -> Result<Self, PhmError> {
        factors.check(shape)?;
        check("grad_weight", shape.weight(), grad_weight.len())?;
        let PhmShape { n, p, q, .. } = *shape;
        let mut products = Buffer::scratch(Device::Cpu, DType::F32, shape.products())?;
        parallel::rows_mut(products.f32_mut()?, p, 1, |row, out| {
            for (row, out) in (row..).zip(out.chunks_exact_mut(p)) {
                let (i, column) = (row / q, row % q);
                out.fill(0.0);
                for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
                    let grad = &grad_weight[((b * q + column) * n + a) * p..][..p];
                    axpy(factors.rule[(i * n + a) * n + b], grad, out);
                }
            }
        });
        Ok(Self { shape: *shape, factors, products })
    }

    /// The gradient of the left factors, `[n, P, rank]`.
    ///
    /// # Errors
    /// [`PhmError::Length`].
    pub fn left(&self, grad: Gradient<'_>) -> Result<(), PhmError> {
        check("grad_left", self.shape.left(), grad.values.len())?;
        let PhmShape { p, q, rank, .. } = self.shape;
        let (products, right) = (self.products.f32()?, self.factors.right);
        grad.write(ELEMENTS, |index| {
            let (i, row, r) = (index / rank / p, index / rank % p, index % rank);
            (0..q).map(|column| products[(i * q + column) * p + row] * right[(i * rank + r) * q + column]).sum()
        });
        Ok(())
    }

    /// The gradient of the right factors, `[n, rank, Q]`.
    ///
    /// # Errors
    /// [`PhmError::Length`].
    pub fn right(&self, grad: Gradient<'_>) -> Result<(), PhmError> {
        check("grad_right", self.shape.right(), grad.values.len())?;
        let PhmShape { p, q, rank, .. } = self.shape;
        let (products, left) = (self.products.f32()?, self.factors.left);
        grad.write(ELEMENTS, |index| {
            let (i, r, column) = (index / q / rank, index / q % rank, index % q);
            let product = &products[(i * q + column) * p..][..p];
            product.iter().enumerate().map(|(row, m)| m * left[(i * p + row) * rank + r]).sum()
        });
        Ok(())
    }
}
