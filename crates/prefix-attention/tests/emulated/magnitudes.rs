//! How large the terms of each result are, by plain loops in f64: what bounds of its rounding are relative to.

use crate::problem::Problem;

/// Of every sum that makes a result, the sum of its terms' magnitudes.
#[derive(Default)]
pub(crate) struct Magnitudes {
    pub(crate) o: Vec<f64>,
    pub(crate) grad_q: Vec<f64>,
    pub(crate) grad_k: Vec<f64>,
    pub(crate) grad_v: Vec<f64>,
    pub(crate) grad_prefix_k: Vec<f64>,
    pub(crate) grad_prefix_v: Vec<f64>,
    pub(crate) grad_bias: Vec<f64>,
    /// The largest `softmax_scale sum_c |q_c k_c|`, plus its bias, of a visible pair.
    pub(crate) scores: f64,
    /// The most terms that a sum over keys or queries has.
    pub(crate) terms: usize,
}

/// A key that a query sees, with where its gradients are.
struct Key<'a> {
    k: &'a [f32],
    v: &'a [f32],
    prefix: bool,
    offset: usize,
    bias: f64,
    /// Where that is in the table.
    place: Option<usize>,
}

/// `sum_c |x_c y_c|`
fn product(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(&x, &y)| (f64::from(x) * f64::from(y)).abs()).sum()
}

impl Magnitudes {
    /// With the results `o` of a forward.
    pub(crate) fn new(problem: &Problem, o: &[f32]) -> Self {
        let case = &problem.case;
        let own = case.num_kv() * case.kv_row();
        let zeros = |len| vec![0.0; len];
        let mut out = Self {
            o: zeros(problem.q.len()),
            grad_q: zeros(problem.q.len()),
            grad_k: zeros(own),
            grad_v: zeros(own),
            grad_prefix_k: zeros(problem.prefix_k.len()),
            grad_prefix_v: zeros(problem.prefix_v.len()),
            grad_bias: zeros(problem.bias.len()),
            scores: 0.0,
            terms: case.num_q() * case.spec.num_heads + case.prefix_len + case.num_kv(),
        };
        let (mut q_start, mut kv_start) = (0, 0);
        for (&q_len, &kv_len) in case.q_lens.iter().zip(&case.kv_lens) {
            for (query, head) in (0..q_len).flat_map(|i| (0..case.spec.num_heads).map(move |h| (i, h))) {
                let position = query as i64 + kv_len as i64 - q_len as i64;
                let keys = visible(problem, (kv_start, kv_len), position, head);
                let row = (q_start + query) * case.q_row() + head * case.spec.head_dim;
                out.add_query(problem, o, row, &keys);
            }
            (q_start, kv_start) = (q_start + q_len, kv_start + kv_len);
        }
        out
    }

    fn add_query(&mut self, problem: &Problem, o: &[f32], row: usize, keys: &[Key<'_>]) {
        let (spec, dim) = (&problem.case.spec, problem.case.spec.head_dim);
        let of_row = |values: &'_ [f32]| values[row..row + dim].to_vec();
        let (q, grad_o) = (of_row(&problem.q), of_row(&problem.grad_o));
        let scale = f64::from(spec.softmax_scale);
        let score = |key: &Key<'_>| {
            let s: f64 = scale * q.iter().zip(key.k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
            key.bias + spec.softcap.map(f64::from).map_or(s, |cap| cap * (s / cap).tanh())
        };
        let scores: Vec<f64> = keys.iter().map(score).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        let delta = product(&of_row(o), &grad_o);
        for (key, s) in keys.iter().zip(&scores) {
            self.scores = self.scores.max(scale * product(&q, key.k) + key.bias.abs());
            let p = (s - max).exp() / sum;
            let of_score = p * (product(&grad_o, key.v) + delta);
            key.place.iter().for_each(|&place| self.grad_bias[place] += of_score);
            let ds = scale * of_score;
            let (grad_k, grad_v) = if key.prefix {
                (&mut self.grad_prefix_k, &mut self.grad_prefix_v)
            } else {
                (&mut self.grad_k, &mut self.grad_v)
            };
            for c in 0..dim {
                self.o[row + c] += p * f64::from(key.v[c].abs());
                self.grad_q[row + c] += ds * f64::from(key.k[c].abs());
                grad_k[key.offset + c] += ds * f64::from(q[c].abs());
                grad_v[key.offset + c] += p * f64::from(grad_o[c].abs());
            }
        }
    }
}

/// The keys that a query at `position` among the keys of its sequence sees: the definition of the mask.
fn visible(problem: &Problem, (kv_start, kv_len): (usize, usize), position: i64, head: usize) -> Vec<Key<'_>> {
    let (case, spec) = (&problem.case, &problem.case.spec);
    let (dim, width) = (spec.head_dim, case.kv_row());
    let column = head / (spec.num_heads / spec.num_kv_heads) * dim;
    let key = |k, v, prefix, offset, of_key: i64| {
        let place = case.buckets.map(|buckets| buckets.bucket(of_key - position) * spec.num_heads + head);
        Key { k, v, prefix, offset, bias: place.map_or(0.0, |place| f64::from(problem.bias[place])), place }
    };
    let prefix = (0..case.prefix_len).map(|j| {
        let offset = j * width + column;
        let (k, v) = (&problem.prefix_k[offset..][..dim], &problem.prefix_v[offset..][..dim]);
        key(k, v, true, offset, j as i64 - case.prefix_len as i64)
    });
    let sees = |j: i64| !spec.causal || (j <= position && spec.window.is_none_or(|w| position - (w as i64) < j));
    let own = (0..kv_len).filter(|&j| sees(j as i64)).map(|j| {
        let row = &problem.kv[(kv_start + j) * (2 * width + case.gap)..];
        key(&row[column..][..dim], &row[width + column..][..dim], false, (kv_start + j) * width + column, j as i64)
    });
    prefix.chain(own).collect()
}
