//! A batch with its operands, on the host and on a device.

use device::DType;
use device::launch::Executor;
use device::launch::testing::{self, read, upload};
use proptest::prelude::*;
use tunesmith_prefix_attention::launch::{self, Batch};
use tunesmith_prefix_attention::{AttentionShape, AttentionSpec, RelativeBias, RelativeBuckets};
use tunesmith_prefix_attention::{Backward, Forward, GradKeyValue, Prefix, TokenRows, backward, forward};

/// Sizes of a batch, and how its operands are stored.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) spec: AttentionSpec,
    pub(crate) q_lens: Vec<usize>,
    pub(crate) kv_lens: Vec<usize>,
    pub(crate) prefix_len: usize,
    pub(crate) dtype: DType,
    /// Columns beside keys and values, which are parts of one array as a fused projection has.
    pub(crate) gap: usize,
    pub(crate) buckets: Option<RelativeBuckets>,
}

/// A case with its operands as the device holds them, widened.
#[derive(Clone)]
pub(crate) struct Problem {
    pub(crate) case: Case,
    pub(crate) q: Vec<f32>,
    /// `[num_kv_tokens, k | v | gap]`.
    pub(crate) kv: Vec<f32>,
    pub(crate) prefix_k: Vec<f32>,
    pub(crate) prefix_v: Vec<f32>,
    pub(crate) grad_o: Vec<f32>,
    /// `[num_buckets, num_heads]`, where there are buckets.
    pub(crate) bias: Vec<f32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    pub(crate) o: Vec<f32>,
    pub(crate) softmax_lse: Vec<f32>,
    pub(crate) grad_q: Vec<f32>,
    pub(crate) grad_k: Vec<f32>,
    pub(crate) grad_v: Vec<f32>,
    pub(crate) grad_prefix_k: Vec<f32>,
    pub(crate) grad_prefix_v: Vec<f32>,
    /// As the bias.
    pub(crate) grad_bias: Vec<f32>,
}

fn starts(lens: &[usize]) -> Vec<u32> {
    let mut sum = 0;
    std::iter::once(0).chain(lens.iter().map(|&len| (sum += len as u32, sum).1)).collect()
}

impl Case {
    pub(crate) fn kv_row(&self) -> usize {
        self.spec.num_kv_heads * self.spec.head_dim
    }

    pub(crate) fn q_row(&self) -> usize {
        self.spec.num_heads * self.spec.head_dim
    }

    pub(crate) fn num_q(&self) -> usize {
        self.q_lens.iter().sum()
    }

    pub(crate) fn num_kv(&self) -> usize {
        self.kv_lens.iter().sum()
    }

    pub(crate) fn with_shape<R>(&self, call: impl FnOnce(&AttentionShape<'_>) -> R) -> R {
        let (q, kv) = (starts(&self.q_lens), starts(&self.kv_lens));
        call(&AttentionShape::new(self.spec, &q, &kv, self.prefix_len).unwrap())
    }

    pub(crate) fn problem(&self, seed: u64) -> Problem {
        let normal = |site, count| testing::normal(DType::F32, count, seed, site);
        let values = |site, count| testing::normal(self.dtype, count, seed, site);
        Problem {
            case: self.clone(),
            q: values(0, self.num_q() * self.q_row()),
            kv: values(1, self.num_kv() * (2 * self.kv_row() + self.gap)),
            prefix_k: values(2, self.prefix_len * self.kv_row()),
            prefix_v: values(3, self.prefix_len * self.kv_row()),
            grad_o: values(4, self.num_q() * self.q_row()),
            bias: normal(5, self.buckets.map_or(0, |buckets| buckets.num_buckets() * self.spec.num_heads)),
        }
    }
}

impl Problem {
    fn kv_stride(&self) -> usize {
        2 * self.case.kv_row() + self.case.gap
    }

    /// The forward of the CPU implementation.
    pub(crate) fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let mut o = vec![f32::NAN; self.q.len()];
        let mut softmax_lse = vec![f32::NAN; self.case.num_q() * self.case.spec.num_heads];
        let [q, k, v] = self.rows();
        let (prefix, bias, precision) = (self.prefix(), self.bias(), DType::F32);
        let args = Forward { q, k, v, prefix, bias, precision, o: &mut o, softmax_lse: &mut softmax_lse };
        self.case.with_shape(|shape| forward(shape, args)).unwrap();
        (o, softmax_lse)
    }

    /// The backward of the CPU implementation from what a forward wrote, added to `results`.
    pub(crate) fn backward(&self, results: &mut Results) {
        let nan = |len| vec![f32::NAN; len];
        let own = self.case.num_kv() * self.case.kv_row();
        (results.grad_q, results.grad_k, results.grad_v) = (nan(self.q.len()), nan(own), nan(own));
        (results.grad_prefix_k, results.grad_prefix_v) = (nan(self.prefix_k.len()), nan(self.prefix_v.len()));
        results.grad_bias = nan(self.bias.len());
        let [q, k, v] = self.rows();
        let args = Backward {
            q,
            k,
            v,
            prefix: self.prefix(),
            bias: self.bias(),
            precision: DType::F32,
            o: &results.o,
            softmax_lse: &results.softmax_lse,
            grad_o: &self.grad_o,
            grad_q: Some(&mut results.grad_q),
            grad_kv: Some(GradKeyValue { k: &mut results.grad_k, v: &mut results.grad_v }),
            grad_prefix: Some(GradKeyValue { k: &mut results.grad_prefix_k, v: &mut results.grad_prefix_v }),
            grad_bias: Some(&mut results.grad_bias),
        };
        self.case.with_shape(|shape| backward(shape, args)).unwrap();
    }

    fn rows(&self) -> [TokenRows<'_>; 3] {
        let v = self.kv.get(self.case.kv_row()..).unwrap_or_default();
        [
            TokenRows::contiguous(&self.q, self.case.q_row()),
            TokenRows { data: &self.kv, row_stride: self.kv_stride() },
            TokenRows { data: v, row_stride: self.kv_stride() },
        ]
    }

    fn prefix(&self) -> Option<Prefix<'_>> {
        let rows = |data| TokenRows::contiguous(data, self.case.kv_row());
        (self.case.prefix_len > 0).then(|| Prefix { k: rows(&self.prefix_k), v: rows(&self.prefix_v) })
    }

    fn bias(&self) -> Option<RelativeBias<'_>> {
        self.case.buckets.map(|buckets| RelativeBias { table: &self.bias, buckets })
    }

    /// Forward and backward of the kernels.
    pub(crate) fn launch(&self, executor: &Executor) -> Results {
        self.case.with_shape(|shape| {
            let dtype = self.case.dtype;
            let mut batch = Batch::new(executor, *shape, dtype).unwrap();
            let table = executor.upload(&self.bias).unwrap();
            if let Some(buckets) = self.case.buckets {
                batch = batch.with_bias(launch::RelativeBias { table: &table, buckets }).unwrap();
            }
            let [q_buffer, kv, prefix_k, prefix_v, grad_o] =
                [&self.q, &self.kv, &self.prefix_k, &self.prefix_v, &self.grad_o].map(|x| upload(executor, dtype, x));
            let q = launch::TokenRows::contiguous(&q_buffer, self.case.q_row());
            let columns = |offset| launch::TokenRows { buffer: &kv, offset, row_stride: self.kv_stride() };
            let (k, v) = (columns(0), columns(self.case.kv_row()));
            let rows = |buffer| launch::TokenRows::contiguous(buffer, self.case.kv_row());
            let prefix = Some(launch::Prefix { k: rows(&prefix_k), v: rows(&prefix_v) });
            let make = |dtype: DType, len: usize| executor.allocate(len * dtype.size_bytes()).unwrap();
            let own = self.case.num_kv() * self.case.kv_row();

            let mut o = make(dtype, self.q.len());
            let mut softmax_lse = make(DType::F32, self.case.num_q() * self.case.spec.num_heads);
            let args = launch::Forward { q, k, v, prefix, o: &mut o, softmax_lse: &mut softmax_lse };
            launch::forward(&batch, args).unwrap();

            let mut grad_q = make(dtype, self.q.len());
            let [mut grad_k, mut grad_v] = [own; 2].map(|len| make(dtype, len));
            let [mut grad_pk, mut grad_pv] = [self.prefix_k.len(); 2].map(|len| make(DType::F32, len));
            let mut grad_bias = make(DType::F32, self.bias.len());
            let args = launch::Backward {
                q,
                k,
                v,
                prefix,
                o: &o,
                softmax_lse: &softmax_lse,
                grad_o: &grad_o,
                grad_q: Some(&mut grad_q),
                grad_kv: Some(launch::GradKeyValue { k: &mut grad_k, v: &mut grad_v }),
                grad_prefix: Some(launch::GradKeyValue { k: &mut grad_pk, v: &mut grad_pv }),
                grad_bias: Some(&mut grad_bias),
            };
            launch::backward(&batch, args).unwrap();
            Results {
                o: read(dtype, &o),
                softmax_lse: read(DType::F32, &softmax_lse),
                grad_q: read(dtype, &grad_q),
                grad_k: read(dtype, &grad_k),
                grad_v: read(dtype, &grad_v),
                grad_prefix_k: read(DType::F32, &grad_pk),
                grad_prefix_v: read(DType::F32, &grad_pv),
                grad_bias: read(DType::F32, &grad_bias),
            }
        })
    }

    /// The problem of sequence `index` alone.
    pub(crate) fn sequence(&self, index: usize) -> Self {
        let cut = |values: &[f32], lens: &[usize], row: usize| {
            let start: usize = lens[..index].iter().sum();
            values[start * row..(start + lens[index]) * row].to_vec()
        };
        let case = &self.case;
        Self {
            case: Case { q_lens: vec![case.q_lens[index]], kv_lens: vec![case.kv_lens[index]], ..case.clone() },
            q: cut(&self.q, &case.q_lens, case.q_row()),
            kv: cut(&self.kv, &case.kv_lens, self.kv_stride()),
            grad_o: cut(&self.grad_o, &case.q_lens, case.q_row()),
            ..self.clone()
        }
    }
}

/// Batches with sizes on, off and across the tiles; queries fewer, as many or more than keys; rows on and off 16 bytes.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let head_dim = prop_oneof![
        3 => 1usize..20,
        3 => prop_oneof![Just(16usize), Just(32), Just(64)],
        2 => prop_oneof![Just(80usize), Just(96), Just(128)],
        1 => prop_oneof![Just(160usize), Just(256)],
    ];
    let heads = (1usize..3, prop_oneof![Just(1usize), Just(2), Just(3), Just(7)]);
    let len = || prop_oneof![3 => 0usize..6, 3 => 1usize..90, 1 => Just(64)];
    let lens = prop::collection::vec((len(), len(), any::<bool>()), 1..4);
    let prefix = prop_oneof![Just(0usize), 1usize..10, Just(64), Just(70)];
    let mask = prop_oneof![
        Just((false, None)),
        Just((true, None)),
        prop_oneof![Just(1), 2usize..80, Just(1000)].prop_map(|window| (true, Some(window))),
    ];
    // The scores as they are, bounded, or with a bias.
    let bias = (1usize..9, 10usize..60, any::<bool>())
        .prop_map(|(n, distance, both)| RelativeBuckets::new(4 * n, distance + 2 * n, both).unwrap());
    let scores = prop_oneof![
        2 => Just((None, None)),
        1 => prop_oneof![Just(0.5f32), Just(30.0)].prop_map(|softcap| (Some(softcap), None)),
        1 => bias.prop_map(|buckets| (None, Some(buckets))),
    ];
    let gap = prop_oneof![Just(0usize), Just(3), Just(8)];
    (head_dim, heads, lens, prefix, mask, scores, any::<bool>(), gap).prop_map(
        |(head_dim, (num_kv_heads, group), lens, prefix_len, (causal, window), (softcap, buckets), wide, gap)| Case {
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
            dtype: if wide { DType::F32 } else { DType::BF16 },
            gap,
            // As far as the kernels take it.
            buckets: buckets.filter(|_| head_dim <= 128),
        },
    )
}
