//! Causal attention with a shared prefix as kernels, in bf16.

use criterion::{Criterion, Throughput};
use device::DType;
use device::launch::DeviceBuffer;
use prefix_attention::launch::{Backward, Batch, Forward, GradKeyValue, Prefix, TokenRows, backward, forward};
use prefix_attention::{AttentionError, AttentionShape, AttentionSpec};
use tunesmith_benches::{Attention, Gpu, Shapes, Suite};

struct Operands {
    q: DeviceBuffer,
    k: DeviceBuffer,
    v: DeviceBuffer,
    prefix: [DeviceBuffer; 2],
    o: DeviceBuffer,
    softmax_lse: DeviceBuffer,
    grad_o: DeviceBuffer,
    grad_q: DeviceBuffer,
    grad_kv: [DeviceBuffer; 2],
    grad_prefix: [DeviceBuffer; 2],
    rows: [usize; 2],
}

impl Operands {
    fn new(gpu: &Gpu, shape: &AttentionShape<'_>, seed: u64) -> Self {
        let AttentionSpec { num_heads, num_kv_heads, head_dim, .. } = *shape.spec();
        let rows = [num_heads * head_dim, num_kv_heads * head_dim];
        let tokens = shape.num_q_tokens();
        let normal = |len, site| gpu.normal(DType::BF16, len, 8 * seed + site);
        let pair = |dtype, len| [(); 2].map(|()| gpu.empty(dtype, len));
        Self {
            q: normal(tokens * rows[0], 0),
            k: normal(tokens * rows[1], 1),
            v: normal(tokens * rows[1], 2),
            prefix: [3, 4].map(|site| normal(shape.prefix_len() * rows[1], site)),
            o: gpu.empty(DType::BF16, tokens * rows[0]),
            softmax_lse: gpu.empty(DType::F32, tokens * num_heads),
            grad_o: normal(tokens * rows[0], 5),
            grad_q: gpu.empty(DType::BF16, tokens * rows[0]),
            grad_kv: pair(DType::BF16, tokens * rows[1]),
            grad_prefix: pair(DType::F32, shape.prefix_len() * rows[1]),
            rows,
        }
    }

    fn forward(&mut self, batch: &Batch<'_>) -> Result<(), AttentionError> {
        let Self { q, k, v, prefix: [prefix_k, prefix_v], o, softmax_lse, rows: [q_row, kv_row], .. } = self;
        let rows = |buffer, row: &usize| TokenRows::contiguous(buffer, *row);
        let (q, k, v) = (rows(q, q_row), rows(k, kv_row), rows(v, kv_row));
        let prefix = Some(Prefix { k: rows(prefix_k, kv_row), v: rows(prefix_v, kv_row) });
        forward(batch, Forward { q, k, v, prefix, o, softmax_lse })
    }

    fn backward(&mut self, batch: &Batch<'_>) -> Result<(), AttentionError> {
        let [q_row, kv_row] = self.rows;
        let [grad_k, grad_v] = &mut self.grad_kv;
        let [grad_prefix_k, grad_prefix_v] = &mut self.grad_prefix;
        let kv = |buffer| TokenRows::contiguous(buffer, kv_row);
        let args = Backward {
            q: TokenRows::contiguous(&self.q, q_row),
            k: kv(&self.k),
            v: kv(&self.v),
            prefix: Some(Prefix { k: kv(&self.prefix[0]), v: kv(&self.prefix[1]) }),
            o: &self.o,
            softmax_lse: &self.softmax_lse,
            grad_o: &self.grad_o,
            grad_q: Some(&mut self.grad_q),
            grad_kv: Some(GradKeyValue { k: grad_k, v: grad_v }),
            grad_prefix: Some(GradKeyValue { k: grad_prefix_k, v: grad_prefix_v }),
            grad_bias: None,
        };
        backward(batch, args)
    }
}

pub(crate) fn attention(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let shapes = Shapes::read();
    let Attention { batch, seq_len, prefix_len } = shapes.attention;
    let spec = AttentionSpec {
        num_heads: shapes.num_heads,
        num_kv_heads: shapes.num_kv_heads,
        head_dim: shapes.head_dim,
        softmax_scale: (shapes.head_dim as f32).powf(-0.5),
        causal: true,
        window: None,
        softcap: None,
    };
    let cu_seqlens: Vec<u32> = (0..=batch).map(|i| (i * seq_len) as u32).collect();
    let shape = AttentionShape::new(spec, &cu_seqlens, &cu_seqlens, prefix_len).expect("it fits");
    let batched = Batch::new(gpu.executor(), shape, DType::BF16).expect("there is memory");
    let pairs = batch * shapes.num_heads * (seq_len * (seq_len + 1) / 2 + seq_len * prefix_len);
    let name = format!("{batch}x{seq_len} tokens, prefix of {prefix_len}");
    let bytes = 2 * batch * seq_len * shapes.head_dim * (4 * shapes.num_heads + 4 * shapes.num_kv_heads);
    let mut sets = gpu.sets(bytes, |seed| Operands::new(gpu, &shape, seed as u64));
    // What the backward pass reads.
    sets.iter_mut().for_each(|set| set.forward(&batched).unwrap_or_else(|error| println!("{error}")));

    let mut suite = Suite::new(criterion, "prefix_attention");
    suite.throughput(Throughput::Elements((4 * pairs * shapes.head_dim) as u64));
    suite.launches(gpu, format!("forward, {name}"), &mut sets, |set| set.forward(&batched));
    suite.throughput(Throughput::Elements((10 * pairs * shapes.head_dim) as u64));
    suite.launches(gpu, format!("backward, {name}"), &mut sets, |set| set.backward(&batched));
    suite.finish();
}
