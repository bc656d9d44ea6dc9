//! Gradients against finite differences of the forward.

use device::DType;

use super::oracle::{BF16_UNIT, exact};
use super::{Case, Problem, best};
use crate::{AttentionSpec, RelativeBuckets};

/// `sum_i grad_o_i o_i`, in f64, of a forward in f32: one in bf16 does not move with its operands but in steps.
fn value(problem: &Problem) -> f64 {
    let case = Case { precision: DType::F32, ..problem.case.clone() };
    let (o, _) = Problem { case, ..problem.clone() }.forward(best());
    o.iter().zip(&problem.grad_o).map(|(&o, &g)| f64::from(o) * f64::from(g)).sum()
}

/// Norm of the difference between `gradient` and the central difference along `place`, relative to the gradient's. In bf16 that of
/// what rounding may move is taken off first.
fn error(
    problem: &Problem,
    (gradient, moved): (&[f32], &[f64]),
    place: impl Fn(&mut Problem, usize) -> &mut f32,
) -> f64 {
    const H: f32 = 1.0 / 64.0;
    let mut squares = (0.0, 0.0);
    for (i, &gradient) in gradient.iter().enumerate() {
        let at = |h: f32| {
            let mut shifted = problem.clone();
            *place(&mut shifted, i) += h;
            value(&shifted)
        };
        let numeric = (at(H) - at(-H)) / (2.0 * f64::from(H));
        squares.0 += (f64::from(gradient) - numeric).powi(2);
        squares.1 += numeric.powi(2);
    }
    let moved = moved.iter().map(|x| x * x).sum::<f64>().sqrt();
    let allowed = if problem.case.precision == DType::BF16 { 1.01 * BF16_UNIT * moved } else { 0.0 };
    (squares.0.sqrt() - allowed) / squares.1.sqrt()
}

#[test]
fn finite_differences() {
    let buckets = |bidirectional| RelativeBuckets::new(6, 5, bidirectional).ok();
    for (causal, window, softcap, buckets) in [
        (true, None, None, None),
        (false, None, Some(3.0), None),
        (true, Some(3), None, None),
        (true, None, Some(5.0), None),
        (true, None, None, buckets(false)),
        (false, None, None, buckets(true)),
    ] {
        let spec =
            AttentionSpec { num_heads: 4, num_kv_heads: 2, head_dim: 5, softmax_scale: 0.3, causal, window, softcap };
        for precision in [DType::F32, DType::BF16] {
            let case = Case { spec, q_lens: vec![5, 4], kv_lens: vec![5, 7], prefix_len: 2, precision, buckets };
            let problem = case.problem(11).rounded();
            let (got, [_, moved]) = (problem.run(best()), exact(&problem));
            let (kv_row, stride) = (case.kv_row(), 2 * case.kv_row() + super::GAP);
            let errors = [
                error(&problem, (&got.grad_q, &moved.grad_q), |p, i| &mut p.q[i]),
                error(&problem, (&got.grad_k, &moved.grad_k), |p, i| &mut p.kv[i / kv_row * stride + i % kv_row]),
                error(&problem, (&got.grad_v, &moved.grad_v), |p, i| {
                    &mut p.kv[i / kv_row * stride + kv_row + i % kv_row]
                }),
                error(&problem, (&got.grad_prefix_k, &moved.grad_prefix_k), |p, i| &mut p.prefix_k[i]),
                error(&problem, (&got.grad_prefix_v, &moved.grad_prefix_v), |p, i| &mut p.prefix_v[i]),
                if buckets.is_some() {
                    error(&problem, (&got.grad_bias, &moved.grad_bias), |p, i| &mut p.bias[i])
                } else {
                    0.0
                },
            ];
            // The difference quotient carries h^2 / 6 = 4e-5 of the third derivative, and rounding of about eps / h = 1e-5
            // for each of the values it sums.
            assert!(
                errors.iter().all(|&e| e <= 1e-3),
                "{precision} {causal} {window:?} {softcap:?} {buckets:?}: {errors:?}"
            );
        }
    }
}
