//! `W = (sum_i A_i (x) L_i R_i)^T`: the weight of a layer of parameterized hypercomplex multiplication, a sum of `n`
//! Kronecker products of a rule and matrices of low rank.
//!
//! With `M_i = L_i R_i` and the sums over the blocks of `dW`:
//! `dA_i[a, b] = sum_pq dW[b Q + q, a P + p] M_i[p, q]`, `dM_i[p, q] = sum_ab dW[b Q + q, a P + p] A_i[a, b]`,
//! `dL_i = dM_i R_i^T`, `dR_i = L_i^T dM_i`

mod on_device;

use device::{Buffer, DType, Device};
use phm::{Factors, Gradient, PhmShape, ProductGradients, forward, grad_rule};

use crate::{Result, Tensor, TensorError};

const OP: &str = "phm_weight";

/// The weight `[n Q, n P]` of the rule `A` `[n, n, n]` and the factors `L` `[n, P, rank]` and `R` `[n, rank, Q]`.
///
/// # Errors
/// [`TensorError::Shape`] if a size differs from these; [`TensorError::DType`] unless all are f32 on the CPU.
pub fn phm_weight(rule: &Tensor, left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let [n, p, q, rank] = sizes(rule, left, right)?;
    let shape = PhmShape::new(n, p, q, rank).map_err(TensorError::kernel(OP))?;
    if rule.device() != Device::Cpu {
        return on_device::phm_weight(shape, [n * q, n * p], [rule, left, right]);
    }
    let mut weight = Buffer::scratch(rule.device(), DType::F32, n * q * n * p)?;
    {
        let (rule, left, right) = (rule.read(), left.read(), right.read());
        let factors =
            Factors { rule: rule.f32(OP, "rule")?, left: left.f32(OP, "left")?, right: right.f32(OP, "right")? };
        forward(&shape, factors, weight.f32_mut()?).map_err(TensorError::kernel(OP))?;
    }
    let saved = [rule.detach(), left.detach(), right.detach()];
    Tensor::record(OP, [n * q, n * p], weight, &[rule, left, right], move |grad, sink| {
        let grad = grad.f32()?;
        let [rule, left, right] = saved.each_ref().map(Tensor::read);
        let factors =
            Factors { rule: rule.f32(OP, "rule")?, left: left.f32(OP, "left")?, right: right.f32(OP, "right")? };
        let kernel = TensorError::kernel(OP);
        sink.accumulate(0, |values, add| grad_rule(&shape, factors, grad, Gradient { values, add }).map_err(&kernel))?;
        if sink.needs(1) || sink.needs(2) {
            let products = ProductGradients::new(&shape, factors, grad).map_err(&kernel)?;
            sink.accumulate(1, |values, add| products.left(Gradient { values, add }).map_err(&kernel))?;
            sink.accumulate(2, |values, add| products.right(Gradient { values, add }).map_err(&kernel))?;
        }
        Ok(())
    })
}

/// `[n, P, Q, rank]`, checked.
fn sizes(rule: &Tensor, left: &Tensor, right: &Tensor) -> Result<[usize; 4]> {
    let n = match *rule.shape() {
        [n, rows, columns] if n == rows && n == columns && n > 0 => n,
        _ => return Err(rule.unexpected(OP, "rule", "[n, n, n]")),
    };
    let (p, rank) = match *left.shape() {
        [count, p, rank] if count == n && p > 0 => (p, rank),
        _ => return Err(left.unexpected(OP, "left", format!("[{n}, in_features / {n}, rank]"))),
    };
    match *right.shape() {
        [count, rows, q] if count == n && rows == rank && q > 0 => Ok([n, p, q, rank]),
        _ => Err(right.unexpected(OP, "right", format!("[{n}, {rank}, out_features / {n}]"))),
    }
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
