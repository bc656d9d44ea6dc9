//! Gradients against finite differences of the forward.

use device::DType;

use super::{Case, Problem, best};
use crate::{AttentionSpec, RelativeBuckets};

/// `sum_i grad_o_i o_i`, in f64.
fn value(problem: &Problem) -> f64 {
    let (o, _) = problem.forward(best());
    o.iter().zip(&problem.grad_o).map(|(&o, &g)| f64::from(o) * f64::from(g)).sum()
}

/// Norm of the difference between `gradient` and the central difference along `place`, relative to the gradient's.
fn error(problem: &Problem, gradient: &[f32], place: impl Fn(&mut Problem, usize) -> &mut f32) -> f64 {
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
    (squares.0 / squares.1).sqrt()
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
        let case =
            Case { spec, q_lens: vec![5, 4], kv_lens: vec![5, 7], prefix_len: 2, precision: DType::F32, buckets };
        let problem = case.problem(11);
        let got = problem.run(best());
        let (kv_row, stride) = (case.kv_row(), 2 * case.kv_row() + super::GAP);
        let errors = [
            error(&problem, &got.grad_q, |p, i| &mut p.q[i]),
            error(&problem, &got.grad_k, |p, i| &mut p.kv[i / kv_row * stride + i % kv_row]),
            error(&problem, &got.grad_v, |p, i| &mut p.kv[i / kv_row * stride + kv_row + i % kv_row]),
            error(&problem, &got.grad_prefix_k, |p, i| &mut p.prefix_k[i]),
            error(&problem, &got.grad_prefix_v, |p, i| &mut p.prefix_v[i]),
            if buckets.is_some() { error(&problem, &got.grad_bias, |p, i| &mut p.bias[i]) } else { 0.0 },
        ];
        // The difference quotient carries h^2 / 6 = 4e-5 of the third derivative, and rounding of about eps / h = 1e-5
        // for each of the values it sums.
        assert!(errors.iter().all(|&e| e <= 1e-3), "{causal} {window:?} {softcap:?} {buckets:?}: {errors:?}");
    }
}
