//! Tests of the whole: against an f64 oracle, by finite differences, and by laws.

mod faults;
mod gradients;
mod laws;
mod oracle;

use device::DType;
use device::philox::Stream;
use proptest::prelude::*;

use crate::backward::backward_with;
use crate::forward::forward_with;
use crate::isa::InstructionSet;
use crate::{
    AttentionShape, AttentionSpec, Backward, Forward, GradKeyValue, Prefix, RelativeBias, RelativeBuckets, TokenRows,
};

/// Sizes of a batch.
#[derive(Clone, Debug)]
struct Case {
    spec: AttentionSpec,
    q_lens: Vec<usize>,
    kv_lens: Vec<usize>,
    prefix_len: usize,
    precision: DType,
    buckets: Option<RelativeBuckets>,
}

/// A case with its operands. Keys and values are columns of one array with gaps, as a fused projection has.
#[derive(Clone)]
struct Problem {
    case: Case,
    q: Vec<f32>,
    /// `[num_kv_tokens, k | v | gap]`.
    kv: Vec<f32>,
    prefix_k: Vec<f32>,
    prefix_v: Vec<f32>,
    /// `[num_buckets, num_heads]`.
    bias: Vec<f32>,
    grad_o: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Results {
    o: Vec<f32>,
    softmax_lse: Vec<f32>,
    grad_q: Vec<f32>,
    grad_k: Vec<f32>,
    grad_v: Vec<f32>,
    grad_prefix_k: Vec<f32>,
    grad_prefix_v: Vec<f32>,
    grad_bias: Vec<f32>,
}

/// Columns of `Problem::kv` beyond keys and values.
const GAP: usize = 3;

fn starts(lens: &[usize]) -> Vec<u32> {
    let mut sum = 0;
    std::iter::once(0).chain(lens.iter().map(|&len| (sum += len as u32, sum).1)).collect()
}

impl Case {
    fn kv_row(&self) -> usize {
        self.spec.num_kv_heads * self.spec.head_dim
    }

    fn q_row(&self) -> usize {
        self.spec.num_heads * self.spec.head_dim
    }

    fn num_q(&self) -> usize {
        self.q_lens.iter().sum()
    }

    fn num_kv(&self) -> usize {
        self.kv_lens.iter().sum()
    }

    fn with_shape<R>(&self, body: impl FnOnce(&AttentionShape<'_>) -> R) -> R {
        let (q, kv) = (starts(&self.q_lens), starts(&self.kv_lens));
        body(&AttentionShape::new(self.spec, &q, &kv, self.prefix_len).unwrap())
    }

    /// Values in `[-1, 1)`, queries in `[-4, 4)` so that probabilities differ.
    fn problem(&self, seed: u64) -> Problem {
        let values = |site, count: usize, size: f32| -> Vec<f32> {
            let stream = Stream::new(seed, 0, site);
            (0..count as u64).map(|i| (2.0 * stream.uniform(i) - 1.0) * size).collect()
        };
        Problem {
            case: self.clone(),
            q: values(0, self.num_q() * self.q_row(), 4.0),
            kv: values(1, self.num_kv() * (2 * self.kv_row() + GAP), 1.0),
            prefix_k: values(2, self.prefix_len * self.kv_row(), 1.0),
            prefix_v: values(3, self.prefix_len * self.kv_row(), 1.0),
            bias: values(5, self.buckets.map_or(0, |b| b.num_buckets()) * self.spec.num_heads, 2.0),
            grad_o: values(4, self.num_q() * self.q_row(), 1.0),
        }
    }
}

impl Problem {
    fn rows(&self) -> [TokenRows<'_>; 3] {
        let row_stride = 2 * self.case.kv_row() + GAP;
        let v = self.kv.get(self.case.kv_row()..).unwrap_or_default();
        [
            TokenRows::contiguous(&self.q, self.case.q_row()),
            TokenRows { data: &self.kv, row_stride },
            TokenRows { data: v, row_stride },
        ]
    }

    fn prefix(&self) -> Option<Prefix<'_>> {
        let rows = |data| TokenRows::contiguous(data, self.case.kv_row());
        (self.case.prefix_len > 0).then(|| Prefix { k: rows(&self.prefix_k), v: rows(&self.prefix_v) })
    }

    fn bias(&self) -> Option<RelativeBias<'_>> {
        self.case.buckets.map(|buckets| RelativeBias { table: &self.bias, buckets })
    }

    fn forward(&self, isa: InstructionSet) -> (Vec<f32>, Vec<f32>) {
        let [q, k, v] = self.rows();
        // NaN stands for what must be overwritten.
        let mut o = vec![f32::NAN; self.q.len()];
        let mut softmax_lse = vec![f32::NAN; self.case.num_q() * self.case.spec.num_heads];
        let (prefix, bias, precision) = (self.prefix(), self.bias(), self.case.precision);
        let args = Forward { q, k, v, prefix, bias, precision, o: &mut o, softmax_lse: &mut softmax_lse };
        self.case.with_shape(|shape| forward_with(isa, shape, args)).unwrap();
        (o, softmax_lse)
    }

    fn run(&self, isa: InstructionSet) -> Results {
        let [q, k, v] = self.rows();
        let (o, softmax_lse) = self.forward(isa);
        let nan = |len| vec![f32::NAN; len];
        let (own, prefix) = (self.case.num_kv() * self.case.kv_row(), self.prefix_k.len());
        let (mut grad_q, mut grad_k, mut grad_v) = (nan(self.q.len()), nan(own), nan(own));
        let (mut grad_prefix_k, mut grad_prefix_v, mut grad_bias) = (nan(prefix), nan(prefix), nan(self.bias.len()));
        let args = Backward {
            q,
            k,
            v,
            prefix: self.prefix(),
            bias: self.bias(),
            precision: self.case.precision,
            o: &o,
            softmax_lse: &softmax_lse,
            grad_o: &self.grad_o,
            grad_q: Some(&mut grad_q),
            grad_kv: Some(GradKeyValue { k: &mut grad_k, v: &mut grad_v }),
            grad_prefix: Some(GradKeyValue { k: &mut grad_prefix_k, v: &mut grad_prefix_v }),
            grad_bias: Some(&mut grad_bias),
        };
        self.case.with_shape(|shape| backward_with(isa, shape, args)).unwrap();
        Results { o, softmax_lse, grad_q, grad_k, grad_v, grad_prefix_k, grad_prefix_v, grad_bias }
    }

    /// The problem with the operands of products rounded to bf16.
    fn rounded(&self) -> Self {
        let rounded = |values: &[f32]| values.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect();
        Self {
            case: self.case.clone(),
            q: rounded(&self.q),
            kv: rounded(&self.kv),
            prefix_k: rounded(&self.prefix_k),
            prefix_v: rounded(&self.prefix_v),
            bias: self.bias.clone(),
            grad_o: rounded(&self.grad_o),
        }
    }

    /// The problem of sequence `index` alone.
    fn sequence(&self, index: usize) -> Self {
        let cut = |values: &[f32], lens: &[usize], row: usize| {
            let start: usize = lens[..index].iter().sum();
            values[start * row..(start + lens[index]) * row].to_vec()
        };
        let case = &self.case;
        Self {
            case: Case { q_lens: vec![case.q_lens[index]], kv_lens: vec![case.kv_lens[index]], ..case.clone() },
            q: cut(&self.q, &case.q_lens, case.q_row()),
            kv: cut(&self.kv, &case.kv_lens, 2 * case.kv_row() + GAP),
            grad_o: cut(&self.grad_o, &case.q_lens, case.q_row()),
            ..self.clone()
        }
    }
}

fn best() -> InstructionSet {
    InstructionSet::best()
}

/// Any mask.
fn masks() -> impl Strategy<Value = (bool, Option<usize>)> {
    prop_oneof![
        Just((false, None)),
        Just((true, None)),
        prop_oneof![Just(1), 2usize..80, Just(1000)].prop_map(|window| (true, Some(window))),
    ]
}

/// What happens to scores: nothing, a bound, or a bias.
fn transforms() -> impl Strategy<Value = (Option<f32>, Option<RelativeBuckets>)> {
    let buckets = (4usize..40, 20usize..200, any::<bool>());
    prop_oneof![
        Just((None, None)),
        prop_oneof![Just(0.5f32), Just(30.0)].prop_map(|softcap| (Some(softcap), None)),
        buckets.prop_map(|(num, distance, both)| (None, Some(RelativeBuckets::new(num, distance, both).unwrap()))),
    ]
}

/// Batches with sizes on, off and across the tiles; queries fewer, as many or more than keys.
fn cases() -> impl Strategy<Value = Case> {
    let head_dim = prop_oneof![1usize..20, Just(64), Just(80)];
    let group = prop_oneof![Just(1usize), Just(2), Just(3), Just(7)];
    let len = || prop_oneof![3 => 0usize..6, 3 => 1usize..150, 1 => Just(64), 1 => Just(128)];
    let lens = prop::collection::vec((len(), len(), any::<bool>()), 1..4);
    let prefix = prop_oneof![Just(0usize), 1usize..10, Just(64), Just(70)];
    let precision = prop_oneof![Just(DType::F32), Just(DType::BF16)];
    (head_dim, 1usize..3, group, lens, prefix, precision, masks(), transforms()).prop_map(
        |(head_dim, num_kv_heads, group, lens, prefix_len, precision, (causal, window), (softcap, buckets))| Case {
            spec: AttentionSpec {
                num_heads: num_kv_heads * group,
                num_kv_heads,
                head_dim,
                softmax_scale: (head_dim as f32).powf(-0.5),
                causal,
                window,
                softcap,
            },
            q_lens: lens.iter().map(|&(q, _, _)| q).collect(),
            // As in training, or as with a cache.
            kv_lens: lens.iter().map(|&(q, kv, same)| if same { q } else { kv }).collect(),
            prefix_len,
            precision,
            buckets,
        },
    )
}
