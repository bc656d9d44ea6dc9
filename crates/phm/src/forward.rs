//! The weight.

use device::{Buffer, DType, Device, parallel};

use crate::shape::check;
use crate::{PhmError, PhmShape};

/// Rows of the weight that are written as one piece of work.
const ROWS: usize = 8;

/// What a weight is made of.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// A, `[n, n, n]`.
    pub rule: &'a [f32],
    /// L, `[n, P, rank]`.
    pub left: &'a [f32],
    /// R, `[n, rank, Q]`.
    pub right: &'a [f32],
}

impl Factors<'_> {
    pub(crate) fn check(&self, shape: &PhmShape) -> Result<(), PhmError> {
        check("rule", shape.rule(), self.rule.len())?;
        check("left", shape.left(), self.left.len())?;
        check("right", shape.right(), self.right.len())
    }

    /// The transposes of `M_i`, `[n, Q, P]`.
    pub(crate) fn products(&self, shape: &PhmShape) -> Result<Buffer, PhmError> {
        let PhmShape { p, q, rank, .. } = *shape;
        let mut products = Buffer::scratch(Device::Cpu, DType::F32, shape.products())?;
        parallel::rows_mut(products.f32_mut()?, p, ROWS, |start, rows| {
            for (row, out) in rows.chunks_exact_mut(p).enumerate() {
                let (i, column) = ((start + row) / q, (start + row) % q);
                for (row, out) in out.iter_mut().enumerate() {
                    let terms = (0..rank)
                        .map(|r| self.left[(i * p + row) * rank + r] * self.right[(i * rank + r) * q + column]);
                    *out = terms.sum();
                }
            }
        });
        Ok(products)
    }
}

/// Writes the weight, `[n Q, n P]`.
///
/// # Errors
/// [`PhmError::Length`]; [`PhmError::Device`] without memory.
pub fn forward(shape: &PhmShape, factors: Factors<'_>, weight: &mut [f32]) -> Result<(), PhmError> {
    factors.check(shape)?;
    check("weight", shape.weight(), weight.len())?;
    let PhmShape { n, p, q, .. } = *shape;
    let products = factors.products(shape)?;
    let products = products.f32()?;
    parallel::rows_mut(weight, n * p, ROWS, |start, rows| {
        for (row, out) in rows.chunks_exact_mut(n * p).enumerate() {
            let (b, column) = ((start + row) / q, (start + row) % q);
            out.fill(0.0);
            for (i, product) in products.chunks_exact(q * p).enumerate() {
                let product = &product[column * p..][..p];
                for (a, out) in out.chunks_exact_mut(p).enumerate() {
                    axpy(factors.rule[(i * n + a) * n + b], product, out);
                }
            }
        }
    });
    Ok(())
}

/// `y += factor x`.
pub(crate) fn axpy(factor: f32, x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_two_kronecker_products() {
        let factors = Factors {
            rule: &[1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 0.0, 0.0],
            left: &[1.0, 10.0, 5.0, 0.0],
            right: &[1.0, 2.0],
        };
        let mut weight = [f32::NAN; 8];
        forward(&PhmShape::new(2, 2, 1, 1).unwrap(), factors, &mut weight).unwrap();
        // [1 2; 3 4] (x) [1; 10] + [0 1; 0 0] (x) [10; 0] = [1 12; 10 20; 3 4; 30 40], transposed.
        assert_eq!(weight, [1.0, 10.0, 3.0, 30.0, 12.0, 20.0, 4.0, 40.0]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for sizes in [(0, 1, 1, 1), (1, 1, 1, 0), (1 << 31, 1 << 31, 1, 1), (1 << 33, 1, 1, 1)] {
            let (n, p, q, rank) = sizes;
            assert!(matches!(PhmShape::new(n, p, q, rank), Err(PhmError::Sizes { .. })), "{sizes:?}");
        }
        let shape = PhmShape::new(2, 3, 1, 1).unwrap();
        let factors = Factors { rule: &[0.0; 8], left: &[0.0; 5], right: &[0.0; 2] };
        let message = forward(&shape, factors, &mut [0.0; 12]).unwrap_err().to_string();
        assert_eq!(message, "phm: `left` holds 5 elements, expected 6");
    }
}
