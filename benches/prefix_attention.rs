//! Attention on shapes of real models.
//!
//! Training and prefill are counted in floating-point operations of what the mask leaves, 4 for each pair and element of a
//! head forward and 10 backward: criterion's "Gelem/s" reads GFLOP/s. Generation is bound by reading the keys and values
//! and counted in their bytes.

#[path = "cuda/prefix_attention.rs"]
mod cuda;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::{Buffer, DType, Device};
use prefix_attention::{
    AttentionShape, AttentionSpec, Backward, Forward, GradKeyValue, Prefix, TokenRows, backward, forward,
};
use tunesmith_benches::{Suite, normal};

/// A batch of `num_sequences` of the same lengths.
struct Case {
    name: &'static str,
    heads: [usize; 2],
    head_dim: usize,
    causal: bool,
    num_sequences: usize,
    q_len: usize,
    kv_len: usize,
    prefix_len: usize,
    precision: DType,
}

impl Case {
    fn spec(&self) -> AttentionSpec {
        AttentionSpec {
            num_heads: self.heads[0],
            num_kv_heads: self.heads[1],
            head_dim: self.head_dim,
            softmax_scale: (self.head_dim as f32).powf(-0.5),
            causal: self.causal,
            window: None,
            softcap: None,
        }
    }

    /// Pairs of a query and a key that it sees, over all heads.
    fn pairs(&self) -> usize {
        let hidden = if self.causal { self.q_len * (self.q_len - 1) / 2 } else { 0 };
        self.num_sequences * self.heads[0] * (self.q_len * (self.kv_len + self.prefix_len) - hidden)
    }

    fn bench(&self, group: &mut Suite<'_>) {
        let starts = |len: usize| (0..=self.num_sequences).map(|i| (i * len) as u32).collect::<Vec<_>>();
        let (cu_seqlens_q, cu_seqlens_kv) = (starts(self.q_len), starts(self.kv_len));
        let shape = AttentionShape::new(self.spec(), &cu_seqlens_q, &cu_seqlens_kv, self.prefix_len).expect("it fits");
        let (q_row, kv_row) = (self.heads[0] * self.head_dim, self.heads[1] * self.head_dim);
        let values = |rows: usize, row: usize, seed| {
            Buffer::from_f32(Device::Cpu, &normal(rows * row, seed)).expect("there is memory")
        };
        let (q_len, kv_len) = (shape.num_q_tokens(), shape.num_kv_tokens());
        let (q, k, v) = (values(q_len, q_row, 1), values(kv_len, kv_row, 2), values(kv_len, kv_row, 3));
        let (prefix_k, prefix_v) = (values(self.prefix_len, kv_row, 4), values(self.prefix_len, kv_row, 5));
        let rows = |buffer, row| TokenRows::contiguous(f32s(buffer), row);
        let (q, k, v) = (rows(&q, q_row), rows(&k, kv_row), rows(&v, kv_row));
        let prefix = Some(Prefix { k: rows(&prefix_k, kv_row), v: rows(&prefix_v, kv_row) });
        let (mut o, mut softmax_lse) = (vec![0.0; q_len * q_row], vec![0.0; q_len * self.heads[0]]);

        let generates = self.q_len == 1;
        let flops = self.pairs() * self.head_dim;
        group.throughput(if generates {
            Throughput::Bytes((2 * kv_len * kv_row * size_of::<f32>()) as u64)
        } else {
            Throughput::Elements(4 * flops as u64)
        });
        group.bench_function(format!("forward, {}", self.name), |bench| {
            bench.iter(|| {
                let (o, softmax_lse, precision) = (&mut o, &mut softmax_lse, self.precision);
                let args = Forward { q: black_box(q), k, v, prefix, bias: None, precision, o, softmax_lse };
                forward(&shape, args)
            });
        });
        if generates {
            return;
        }
        let grad_o = values(q_len, q_row, 6);
        let mut grad_q = o.clone();
        let (mut grad_k, mut grad_v) = (vec![0.0; kv_len * kv_row], vec![0.0; kv_len * kv_row]);
        let (mut grad_prefix_k, mut grad_prefix_v) = (f32s(&prefix_k).to_vec(), f32s(&prefix_v).to_vec());
        group.throughput(Throughput::Elements(10 * flops as u64));
        group.bench_function(format!("backward, {}", self.name), |bench| {
            bench.iter(|| {
                let args = Backward {
                    q: black_box(q),
                    k,
                    v,
                    prefix,
                    bias: None,
                    precision: self.precision,
                    o: &o,
                    softmax_lse: &softmax_lse,
                    grad_o: f32s(&grad_o),
                    grad_q: Some(&mut grad_q),
                    grad_kv: Some(GradKeyValue { k: &mut grad_k, v: &mut grad_v }),
                    grad_prefix: Some(GradKeyValue { k: &mut grad_prefix_k, v: &mut grad_prefix_v }),
                    grad_bias: None,
                };
                backward(&shape, args)
            });
        });
    }
}

fn f32s(buffer: &Buffer) -> &[f32] {
    buffer.f32().expect("it is f32")
}

fn attention(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "prefix_attention");
    group.sample_size(20);
    let gpt2 = Case {
        name: "gpt2, 1024 tokens",
        heads: [12, 12],
        head_dim: 64,
        causal: true,
        num_sequences: 1,
        q_len: 1024,
        kv_len: 1024,
        prefix_len: 0,
        precision: DType::F32,
    };
    let cases = [
        Case { name: "bert, 1024 tokens, bidirectional", causal: false, ..gpt2 },
        Case { name: "bert, 1024 tokens, bidirectional, bfloat16", causal: false, precision: DType::BF16, ..gpt2 },
        Case { name: "gpt2, 1024 tokens, bfloat16", precision: DType::BF16, ..gpt2 },
        Case { name: "gpt2, 1024 tokens, prefix of 64", prefix_len: 64, ..gpt2 },
        Case { name: "smollm2, 4 x 256 tokens", heads: [9, 3], num_sequences: 4, q_len: 256, kv_len: 256, ..gpt2 },
        Case { name: "llama-3-8b, 1024 tokens", heads: [32, 8], head_dim: 128, ..gpt2 },
        Case { name: "gpt2, 1 token, 4096 cached", q_len: 1, kv_len: 4096, ..gpt2 },
        Case {
            name: "llama-3-8b, 1 token, 8192 cached",
            heads: [32, 8],
            head_dim: 128,
            q_len: 1,
            kv_len: 8192,
            ..gpt2
        },
        gpt2,
    ];
    cases.iter().for_each(|case| case.bench(&mut group));
    group.finish();
}

criterion_group!(benches, attention, cuda::attention);
criterion_main!(benches);
