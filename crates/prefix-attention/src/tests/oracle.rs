//! The definition in f64, by plain loops over a whole row of scores, and agreement with it.

use device::DType;
use proptest::prelude::*;

use super::{Case, GAP, Problem, Results, cases};
use crate::RelativeBuckets;
use crate::isa::InstructionSet;

/// The largest relative error of rounding once to bf16.
pub(super) const BF16_UNIT: f64 = 1.0 / 256.0;

/// What the crate computes, in f64.
#[derive(Default)]
pub(super) struct Exact {
    pub(super) o: Vec<f64>,
    pub(super) softmax_lse: Vec<f64>,
    pub(super) grad_q: Vec<f64>,
    pub(super) grad_k: Vec<f64>,
    pub(super) grad_v: Vec<f64>,
    pub(super) grad_prefix_k: Vec<f64>,
    pub(super) grad_prefix_v: Vec<f64>,
    pub(super) grad_bias: Vec<f64>,
}

impl Exact {
    /// Gradients of the keys and values of the prefix, or of the sequences' own.
    fn of_key(&mut self, prefix: bool) -> (&mut [f64], &mut [f64]) {
        match prefix {
            true => (&mut self.grad_prefix_k, &mut self.grad_prefix_v),
            false => (&mut self.grad_k, &mut self.grad_v),
        }
    }
}

/// The results, and how far each may move where probabilities and gradients of scores are rounded before they are multiplied, in
/// units of that rounding and to first order: the magnitudes of what it is a sum of.
pub(super) fn exact(problem: &Problem) -> [Exact; 2] {
    let Problem { case, .. } = problem;
    let (spec, dim) = (&case.spec, case.spec.head_dim);
    let zeros = |len| vec![0.0; len];
    let own = case.num_kv() * case.kv_row();
    let results = || Exact {
        o: zeros(problem.q.len()),
        softmax_lse: zeros(case.num_q() * spec.num_heads),
        grad_q: zeros(problem.q.len()),
        grad_k: zeros(own),
        grad_v: zeros(own),
        grad_prefix_k: zeros(problem.prefix_k.len()),
        grad_prefix_v: zeros(problem.prefix_v.len()),
        grad_bias: zeros(problem.bias.len()),
    };
    let (mut out, mut moved) = (results(), results());
    let (mut q_start, mut kv_start) = (0, 0);
    for (&q_len, &kv_len) in case.q_lens.iter().zip(&case.kv_lens) {
        for (i, head) in (0..q_len).flat_map(|i| (0..spec.num_heads).map(move |h| (i, h))) {
            let column = head / (spec.num_heads / spec.num_kv_heads) * dim;
            let position = i as i64 + kv_len as i64 - q_len as i64;
            let visible = |&j: &usize| {
                let j = j as i64;
                !spec.causal || (j <= position && spec.window.is_none_or(|w| position - (w as i64) < j))
            };
            let row = (q_start + i) * case.q_row() + head * dim;
            // (keys, values, gradients) offsets of every visible key; `true` for the prefix.
            let prefix = (0..case.prefix_len).map(|j| (true, j * case.kv_row() + column));
            let keys: Vec<(bool, usize)> = prefix
                .chain((0..kv_len).filter(visible).map(|j| (false, (kv_start + j) * case.kv_row() + column)))
                .collect();
            let own_offset =
                |offset: usize| offset / case.kv_row() * (2 * case.kv_row() + GAP) + offset % case.kv_row();
            let k = |&(prefix, offset): &(bool, usize), c: usize| {
                f64::from(if prefix { problem.prefix_k[offset + c] } else { problem.kv[own_offset(offset) + c] })
            };
            let v = |&(prefix, offset): &(bool, usize), c: usize| {
                f64::from(if prefix {
                    problem.prefix_v[offset + c]
                } else {
                    problem.kv[own_offset(offset) + case.kv_row() + c]
                })
            };
            let q: Vec<f64> = problem.q[row..row + dim].iter().map(|&x| x.into()).collect();
            let grad_o: Vec<f64> = problem.grad_o[row..row + dim].iter().map(|&x| x.into()).collect();
            let scale = f64::from(spec.softmax_scale);
            let bias_place = |&(prefix, offset): &(bool, usize)| {
                let key = (offset / case.kv_row()) as i64;
                let key = key - if prefix { case.prefix_len as i64 } else { kv_start as i64 };
                case.buckets.map(|buckets| buckets.bucket(key - position) * spec.num_heads + head)
            };
            // Scores and their derivative by the scaled product.
            let (scores, slopes): (Vec<f64>, Vec<f64>) = keys
                .iter()
                .map(|key| {
                    let bias = bias_place(key).map_or(0.0, |place| f64::from(problem.bias[place]));
                    let s = scale * (0..dim).map(|c| q[c] * k(key, c)).sum::<f64>() + bias;
                    spec.softcap.map(f64::from).map_or((s, 1.0), |cap| {
                        let t = (s / cap).tanh();
                        (cap * t, 1.0 - t * t)
                    })
                })
                .unzip();
            if keys.is_empty() {
                out.softmax_lse[head * case.num_q() + q_start + i] = f64::NEG_INFINITY;
                continue;
            }
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lse = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
            out.softmax_lse[head * case.num_q() + q_start + i] = lse;
            let p: Vec<f64> = scores.iter().map(|s| (s - lse).exp()).collect();
            for (key, p) in keys.iter().zip(&p) {
                for c in 0..dim {
                    out.o[row + c] += p * v(key, c);
                    moved.o[row + c] += p * v(key, c).abs();
                }
            }
            let delta: f64 = (0..dim).map(|c| grad_o[c] * out.o[row + c]).sum();
            let delta_moved: f64 = (0..dim).map(|c| grad_o[c].abs() * moved.o[row + c]).sum();
            for ((key, p), slope) in keys.iter().zip(&p).zip(&slopes) {
                let dp: f64 = (0..dim).map(|c| grad_o[c] * v(key, c)).sum();
                if let Some(place) = bias_place(key) {
                    out.grad_bias[place] += p * (dp - delta);
                    moved.grad_bias[place] += p * delta_moved;
                }
                let ds = p * (dp - delta) * slope * scale;
                let ds_moved = ds.abs() + p * delta_moved * slope * scale;
                let &(prefix, offset) = key;
                for c in 0..dim {
                    out.grad_q[row + c] += ds * k(key, c);
                    moved.grad_q[row + c] += ds_moved * k(key, c).abs();
                    let (grad_k, grad_v) = out.of_key(prefix);
                    grad_v[offset + c] += p * grad_o[c];
                    grad_k[offset + c] += ds * q[c];
                    let (grad_k, grad_v) = moved.of_key(prefix);
                    grad_v[offset + c] += p * grad_o[c].abs();
                    grad_k[offset + c] += ds_moved * q[c].abs();
                }
            }
        }
        (q_start, kv_start) = (q_start + q_len, kv_start + kv_len);
    }
    [out, moved]
}

/// Largest difference beyond what is `allowed` of each, relative to the largest value (or to 1 where all are smaller).
fn difference(got: &[f32], exact: &[f64], allowed: impl Fn(usize) -> f64) -> f64 {
    assert_eq!(got.len(), exact.len());
    let largest = exact.iter().fold(1.0f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { m });
    got.iter().zip(exact).enumerate().fold(0.0, |worst, (i, (&got, &exact))| {
        let got = f64::from(got);
        let difference = if got == exact { 0.0 } else { ((got - exact).abs() - allowed(i)) / largest };
        // A NaN must reach the comparison.
        if difference <= worst { worst } else { difference }
    })
}

fn check(case: &Case, seed: u64, isa: InstructionSet) -> Result<(), TestCaseError> {
    let problem = case.problem(seed);
    // Operands in bf16, which one rounding more leaves as they are. What is rounded beyond them are probabilities and gradients of
    // scores, each once; products of two such errors are below a hundredth of one.
    let (problem, unit) = match case.precision {
        DType::BF16 => (problem.rounded(), 1.01 * BF16_UNIT),
        _ => (problem, 0.0),
    };
    let (got, [exact, moved]) = (problem.run(isa), exact(&problem));
    let Results { o, softmax_lse, grad_q, grad_k, grad_v, grad_prefix_k, grad_prefix_v, grad_bias } = &got;
    // Scores are sums of up to 80 products below 4, scaled to below 36: their rounding, some 1e-6, is the relative error
    // of a probability; a sum of probabilities times values below 1 has it once, a gradient a few times.
    for (name, got, exact, bound) in [
        ("o", o, (&exact.o, &moved.o), 5e-6),
        ("softmax_lse", softmax_lse, (&exact.softmax_lse, &moved.softmax_lse), 2e-6),
        ("grad_q", grad_q, (&exact.grad_q, &moved.grad_q), 2e-5),
        ("grad_k", grad_k, (&exact.grad_k, &moved.grad_k), 2e-5),
        ("grad_v", grad_v, (&exact.grad_v, &moved.grad_v), 1e-5),
        ("grad_prefix_k", grad_prefix_k, (&exact.grad_prefix_k, &moved.grad_prefix_k), 2e-5),
        ("grad_prefix_v", grad_prefix_v, (&exact.grad_prefix_v, &moved.grad_prefix_v), 1e-5),
        ("grad_bias", grad_bias, (&exact.grad_bias, &moved.grad_bias), 2e-5),
    ] {
        let (exact, moved) = exact;
        let difference = difference(got, exact, |i| unit * moved[i]);
        prop_assert!(difference <= bound, "{isa:?} {name}: {difference:e}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_f64_on_every_instruction_set(case in cases(), seed in any::<u64>()) {
        for isa in InstructionSet::available() {
            check(&case, seed, isa)?;
        }
    }
}

#[test]
fn long_sequences_and_large_heads() {
    for (head_dim, q_len, kv_len, window) in
        [(256, 130, 130, None), (96, 1, 2500, None), (128, 2, 1500, Some(1100)), (64, 700, 700, Some(100))]
    {
        let spec = crate::AttentionSpec {
            num_heads: 4,
            num_kv_heads: 2,
            head_dim,
            softmax_scale: 0.1,
            causal: true,
            window,
            softcap: None,
        };
        let buckets = RelativeBuckets::new(32, 128, false).unwrap();
        for (precision, buckets) in [(DType::F32, None), (DType::F32, Some(buckets)), (DType::BF16, Some(buckets))] {
            let case = Case { spec, q_lens: vec![q_len], kv_lens: vec![kv_len], prefix_len: 5, precision, buckets };
            for isa in InstructionSet::available() {
                check(&case, 7, isa).unwrap();
            }
        }
    }
}
