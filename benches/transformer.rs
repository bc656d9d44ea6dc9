//! What stands around the products of a block, on shapes of real models with 1024 tokens.
//!
//! Most of it is bound by memory: throughput is in bytes, each operand counted once. The loss of a whole vocabulary is
//! counted in floating-point operations of its products: criterion's "Gelem/s" reads GFLOP/s.

#[path = "cuda/transformer.rs"]
mod cuda;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::{DType, Elements};
use gemm::Matrix;
use half::bf16;
use transformer::gated::{GateUp, GateUpMut};
use transformer::{
    Activation, Gradient, RopeTable, activation, cross_entropy, embedding, gated, layer_norm, linear_cross_entropy,
    rms_norm, rope,
};
use tunesmith_benches::{Suite, normal};

const TOKENS: usize = 1024;

/// Bytes of `streams` passes over `[TOKENS, width]` f32 values.
fn bytes(streams: usize, width: usize) -> Throughput {
    Throughput::Bytes((streams * TOKENS * width * size_of::<f32>()) as u64)
}

fn norms(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "norm");
    for (hidden, model) in [(576, "smollm2"), (2048, "tinyllama")] {
        let (x, weight, dy) = (normal(TOKENS * hidden, 1), normal(hidden, 2), normal(TOKENS * hidden, 3));
        let weight = Elements::F32(&weight);
        let (mut y, mut rstd, mut statistics) = (vec![0.0; x.len()], vec![0.0; TOKENS], vec![0.0; 2 * TOKENS]);
        let shape = rms_norm::Shape { rows: TOKENS, hidden, eps: 1e-5, unit_offset: false };
        group.throughput(bytes(2, hidden));
        group.bench_function(format!("rms_norm forward, {model}"), |bench| {
            bench.iter(|| {
                let args = rms_norm::Forward { x: black_box(&x[..]).into(), weight, y: &mut y, rstd: &mut rstd };
                rms_norm::forward(shape, args)
            });
        });
        group.throughput(bytes(3, hidden));
        group.bench_function(format!("rms_norm backward, {model}"), |bench| {
            bench.iter(|| {
                let (dx, dweight) = (Some(Gradient::overwrite(&mut y)), None);
                let args = rms_norm::Backward { x: x[..].into(), weight, rstd: &rstd, dy: black_box(&dy), dx, dweight };
                rms_norm::backward(shape, args)
            });
        });
        let shape = layer_norm::Shape { rows: TOKENS, hidden, eps: 1e-5 };
        group.throughput(bytes(2, hidden));
        group.bench_function(format!("layer_norm forward, {model}"), |bench| {
            bench.iter(|| {
                let (x, bias) = (black_box(&x[..]).into(), Some(weight));
                let args = layer_norm::Forward { x, weight, bias, y: &mut y, statistics: &mut statistics };
                layer_norm::forward(shape, args)
            });
        });
        group.throughput(bytes(3, hidden));
        group.bench_function(format!("layer_norm backward, {model}"), |bench| {
            bench.iter(|| {
                let (dx, statistics) = (Some(Gradient::overwrite(&mut y)), &statistics[..]);
                let (x, dy) = (x[..].into(), black_box(&dy[..]));
                let args = layer_norm::Backward { x, weight, statistics, dy, dx, dweight: None, dbias: None };
                layer_norm::backward(shape, args)
            });
        });
    }
    group.finish();
}

fn rotary(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "rope");
    let inv_freq: Vec<f32> = (0..32).map(|j| 10_000f32.powf(-f64::from(j) as f32 / 32.0)).collect();
    let table = RopeTable::from_frequencies(&inv_freq, 1.0, TOKENS).expect("32 frequencies make a table");
    let positions: Vec<u32> = (0..TOKENS as u32).collect();
    let shape = rope::Shape::contiguous(TOKENS, 9, 64);
    let x = normal(TOKENS * 576, 1);
    let mut y = vec![0.0; x.len()];
    group.throughput(bytes(2, 576));
    group.bench_function("forward, smollm2 q", |bench| {
        bench.iter(|| {
            let args = rope::Forward { x: black_box(&x), table: &table, positions: &positions, y: &mut y };
            rope::forward(shape, args)
        });
    });
    group.bench_function("backward in place, smollm2 q", |bench| {
        bench.iter(|| {
            let (x, direction) = (black_box(&mut y[..]), rope::Direction::Backward);
            rope::in_place(shape, rope::InPlace { x, table: &table, positions: &positions, direction })
        });
    });
    group.finish();
}

fn activations(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "activation");
    let features = 3072;
    let x = normal(TOKENS * features, 1);
    let (mut y, mut dy) = (vec![0.0; x.len()], normal(x.len(), 2));
    for name in ["silu", "gelu", "gelu_new", "relu"] {
        let function: Activation = name.parse().expect("a known name");
        group.throughput(bytes(2, features));
        group.bench_function(format!("{name} forward, gpt2"), |bench| {
            bench.iter(|| activation::forward(function, black_box(&x[..]), &mut y));
        });
        group.throughput(bytes(3, features));
        group.bench_function(format!("{name} backward, gpt2"), |bench| {
            bench.iter(|| {
                // Without this the gradient would shrink to subnormals over the iterations.
                dy.fill(1.0);
                activation::backward(function, black_box(&x[..]), &mut dy)
            });
        });
    }
    let features = 1536;
    let shape = gated::Shape { rows: TOKENS, features };
    let (gate, up, dy) = (normal(TOKENS * features, 1), normal(TOKENS * features, 2), normal(TOKENS * features, 3));
    let (mut y, mut dgate, mut dup) = (vec![0.0; gate.len()], vec![0.0; gate.len()], vec![0.0; gate.len()]);
    let gate_up = GateUp::Separate { gate: gate[..].into(), up: up[..].into() };
    group.throughput(bytes(3, features));
    group.bench_function("gated silu forward, smollm2", |bench| {
        bench.iter(|| gated::forward(shape, Activation::Silu, black_box(gate_up), &mut y));
    });
    group.throughput(bytes(5, features));
    group.bench_function("gated silu backward, smollm2", |bench| {
        bench.iter(|| {
            let gradient = GateUpMut::Separate { dgate: &mut dgate, dup: &mut dup };
            gated::backward(shape, Activation::Silu, gated::Backward { gate_up, dy: black_box(&dy), gradient })
        });
    });
    group.finish();
}

fn vocabulary(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "vocabulary, smollm2");
    group.sample_size(10);
    let (vocab_size, hidden) = (49_152, 576);
    // Scaled so that the logits have size 1, as an untrained model's.
    let table: Vec<bf16> = normal(vocab_size * hidden, 1).into_iter().map(|w| bf16::from_f32(w / 24.0)).collect();
    let labels: Vec<i64> = (0..TOKENS).map(|i| (i * 7919 % vocab_size) as i64).collect();

    let ids: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
    let mut x = vec![0.0; TOKENS * hidden];
    let shape = embedding::Shape { vocab_size, hidden, scale: 1.0, padding_idx: None };
    group.throughput(Throughput::Bytes((TOKENS * hidden * (size_of::<bf16>() + size_of::<f32>())) as u64));
    group.bench_function("embedding, bf16", |bench| {
        bench.iter(|| embedding::forward(shape, Elements::BF16(&table), black_box(&ids), &mut x));
    });

    let rows = 128;
    let mut logits = normal(rows * vocab_size, 2);
    let shape = cross_entropy::Shape { rows, vocab_size, softcap: None };
    group.throughput(Throughput::Bytes((rows * vocab_size * size_of::<f32>()) as u64));
    group.bench_function("cross_entropy forward, 128 rows", |bench| {
        bench.iter(|| cross_entropy::forward(shape, black_box(&logits), &labels[..rows]));
    });
    group.throughput(Throughput::Bytes((2 * rows * vocab_size * size_of::<f32>()) as u64));
    group.bench_function("cross_entropy forward and backward, 128 rows", |bench| {
        bench.iter(|| cross_entropy::forward_backward(shape, black_box(&mut logits), &labels[..rows], 1.0));
    });

    let hidden_states = normal(TOKENS * hidden, 3);
    let head = Matrix::new(Elements::BF16(&table), vocab_size, hidden);
    let shape = linear_cross_entropy::Shape { rows: TOKENS, hidden, vocab_size, softcap: None, precision: DType::F32 };
    group.throughput(Throughput::Elements((2 * 2 * TOKENS * hidden * vocab_size) as u64));
    group.bench_function("linear_cross_entropy with dhidden, bf16", |bench| {
        bench.iter(|| {
            let (hidden, dhidden, dhead) = (black_box(&hidden_states[..]), Some(&mut x[..]), None);
            let args = linear_cross_entropy::Arguments { hidden, head, labels: &labels, dhidden, dhead };
            linear_cross_entropy::forward_backward(shape, args)
        });
    });
    group.finish();
}

criterion_group!(benches, norms, rotary, activations, vocabulary, cuda::block);
criterion_main!(benches);
