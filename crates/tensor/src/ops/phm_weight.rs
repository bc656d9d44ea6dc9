//! `W = (sum_i A_i (x) L_i R_i)^T`: the weight of a layer of parameterized hypercomplex multiplication, a sum of `n`
//! Kronecker products of a rule and matrices of low rank.
//!
//! With `M_i = L_i R_i` and the sums over the blocks of `dW`:
//! `dA_i[a, b] = sum_pq dW[b Q + q, a P + p] M_i[p, q]`, `dM_i[p, q] = sum_ab dW[b Q + q, a P + p] A_i[a, b]`,
//! `dL_i = dM_i R_i^T`, `dR_i = L_i^T dM_i`
//!
//! Sources: Zhang et al. 2021, "Beyond Fully-Connected Layers with Quaternions"; Mahabadi et al. 2021, "Compacter".

use device::{Buffer, DType, parallel};

use crate::backward::assign;
use crate::{Result, Tensor};

const OP: &str = "phm_weight";

/// The weight `[n Q, n P]` of the rule `A` `[n, n, n]` and the factors `L` `[n, P, rank]` and `R` `[n, rank, Q]`.
///
/// # Errors
/// [`crate::TensorError::Shape`] if a size differs from these; [`crate::TensorError::DType`] unless all are f32.
pub fn phm_weight(rule: &Tensor, left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let sizes = Sizes::of(rule, left, right)?;
    let (n, p, q) = (sizes.n, sizes.p, sizes.q);
    let mut weight = Buffer::scratch(rule.device(), DType::F32, n * q * n * p)?;
    {
        let (rule, left, right) = (rule.read(), left.read(), right.read());
        let (rule, products) = (rule.f32(OP, "rule")?, sizes.products(left.f32(OP, "left")?, right.f32(OP, "right")?));
        parallel::rows_mut(weight.f32_mut()?, n * p, ROWS, |start, rows| {
            for (row, out) in rows.chunks_exact_mut(n * p).enumerate() {
                let (b, column) = ((start + row) / q, (start + row) % q);
                out.fill(0.0);
                for (i, product) in products.chunks_exact(q * p).enumerate() {
                    let product = &product[column * p..][..p];
                    for (a, out) in out.chunks_exact_mut(p).enumerate() {
                        axpy(rule[(i * n + a) * n + b], product, out);
                    }
                }
            }
        });
    }
    let saved = [rule.detach(), left.detach(), right.detach()];
    Tensor::record(OP, [n * q, n * p], weight, &[rule, left, right], move |grad, sink| {
        let grad = grad.f32()?;
        let [rule, left, right] = saved.each_ref().map(Tensor::read);
        let (rule, left, right) = (rule.f32(OP, "rule")?, left.f32(OP, "left")?, right.f32(OP, "right")?);
        if sink.needs(0) {
            let products = sizes.products(left, right);
            let grad_rule = sizes.rule_gradient(grad, &products);
            sink.accumulate(0, |out, add| give(out, &grad_rule, add))?;
        }
        if sink.needs(1) || sink.needs(2) {
            let grad_products = sizes.product_gradient(grad, rule);
            let (grad_left, grad_right) = sizes.factor_gradients(&grad_products, left, right);
            sink.accumulate(1, |out, add| give(out, &grad_left, add))?;
            sink.accumulate(2, |out, add| give(out, &grad_right, add))?;
        }
        Ok(())
    })
}

/// Rows of the weight that are written as one piece of work.
const ROWS: usize = 8;

#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    p: usize,
    q: usize,
    rank: usize,
}

impl Sizes {
    fn of(rule: &Tensor, left: &Tensor, right: &Tensor) -> Result<Self> {
        let n = match *rule.shape() {
            [n, rows, columns] if n == rows && n == columns && n > 0 => n,
            _ => return Err(rule.unexpected(OP, "rule", "[n, n, n]")),
        };
        let (p, rank) = match *left.shape() {
            [count, p, rank] if count == n && p > 0 => (p, rank),
            _ => return Err(left.unexpected(OP, "left", format!("[{n}, in_features / {n}, rank]"))),
        };
        match *right.shape() {
            [count, rows, q] if count == n && rows == rank && q > 0 => Ok(Self { n, p, q, rank }),
            _ => Err(right.unexpected(OP, "right", format!("[{n}, {rank}, out_features / {n}]"))),
        }
    }

    /// `M_i^T`, `[n, Q, P]`.
    fn products(&self, left: &[f32], right: &[f32]) -> Vec<f32> {
        let Self { n, p, q, rank } = *self;
        let mut products = vec![0.0; n * q * p];
        for i in 0..n {
            for (column, out) in products[i * q * p..][..q * p].chunks_exact_mut(p).enumerate() {
                for (row, out) in out.iter_mut().enumerate() {
                    *out = (0..rank).map(|r| left[(i * p + row) * rank + r] * right[(i * rank + r) * q + column]).sum();
                }
            }
        }
        products
    }

    fn rule_gradient(&self, grad: &[f32], products: &[f32]) -> Vec<f32> {
        let Self { n, p, q, .. } = *self;
        let mut out = vec![0.0; n * n * n];
        parallel::rows_mut(&mut out, 1, 1, |index, out| {
            let (i, a, b) = (index / (n * n), index / n % n, index % n);
            let rows = (0..q).map(|column| {
                let grad = &grad[((b * q + column) * n + a) * p..][..p];
                let product = &products[(i * q + column) * p..][..p];
                grad.iter().zip(product).map(|(g, m)| g * m).sum::<f32>()
            });
            out[0] = rows.sum();
        });
        out
    }

    /// `dM_i^T`, `[n, Q, P]`.
    fn product_gradient(&self, grad: &[f32], rule: &[f32]) -> Vec<f32> {
        let Self { n, p, q, .. } = *self;
        let mut out = vec![0.0; n * q * p];
        parallel::rows_mut(&mut out, p, 1, |index, out| {
            let (i, column) = (index / q, index % q);
            for a in 0..n {
                for b in 0..n {
                    axpy(rule[(i * n + a) * n + b], &grad[((b * q + column) * n + a) * p..][..p], out);
                }
            }
        });
        out
    }

    fn factor_gradients(&self, grad_products: &[f32], left: &[f32], right: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Self { n, p, q, rank } = *self;
        let (mut grad_left, mut grad_right) = (vec![0.0; n * p * rank], vec![0.0; n * rank * q]);
        for i in 0..n {
            for column in 0..q {
                let grad = &grad_products[(i * q + column) * p..][..p];
                for r in 0..rank {
                    let at = (i * rank + r) * q + column;
                    for (row, g) in grad.iter().enumerate() {
                        grad_left[(i * p + row) * rank + r] += g * right[at];
                        grad_right[at] += g * left[(i * p + row) * rank + r];
                    }
                }
            }
        }
        (grad_left, grad_right)
    }
}

/// `y += factor x`.
fn axpy(factor: f32, x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

fn give(out: &mut [f32], grad: &[f32], add: bool) -> Result<()> {
    assign(out, grad, add);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let inputs = [values([2, 2, 2], 1), values([2, 3, 2], 2), values([2, 2, 4], 3)];
        let worst = gradcheck(&inputs, |x| phm_weight(&x[0], &x[1], &x[2])).unwrap();
        // Linear in each input: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn a_sum_of_two_kronecker_products() {
        let tensor = |shape: [usize; 3], values: &[f32]| Tensor::from_f32(shape, values).unwrap();
        let rule = tensor([2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 0.0, 0.0]);
        let (left, right) = (tensor([2, 2, 1], &[1.0, 10.0, 5.0, 0.0]), tensor([2, 1, 1], &[1.0, 2.0]));
        let weight = phm_weight(&rule, &left, &right).unwrap();
        // [1 2; 3 4] (x) [1; 10] + [0 1; 0 0] (x) [10; 0] = [1 12; 10 20; 3 4; 30 40], transposed.
        assert_eq!(weight.shape(), [2, 4]);
        assert_eq!(weight.to_vec(), [1.0, 10.0, 3.0, 30.0, 12.0, 20.0, 4.0, 40.0]);
    }

    #[test]
    fn shapes_are_checked() {
        let tensor = |shape: [usize; 3]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let error =
            |rule, left, right| phm_weight(&tensor(rule), &tensor(left), &tensor(right)).unwrap_err().to_string();
        let message = error([2, 2, 3], [2, 3, 1], [2, 1, 4]);
        assert_eq!(message, "phm_weight: `rule` has shape [2, 2, 3], expected [n, n, n]");
        let message = error([2, 2, 2], [3, 3, 1], [2, 1, 4]);
        assert_eq!(message, "phm_weight: `left` has shape [3, 3, 1], expected [2, in_features / 2, rank]");
        let message = error([2, 2, 2], [2, 3, 1], [2, 2, 4]);
        assert_eq!(message, "phm_weight: `right` has shape [2, 2, 4], expected [2, 1, out_features / 2]");
    }
}
