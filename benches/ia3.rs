//! Scaling of channels on the intermediate activations of SmolLM2-135M with 1024 tokens.
//!
//! Bound by memory: throughput is in bytes, each operand counted once.

#[path = "cuda/ia3.rs"]
mod cuda;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ia3::{Backward, Forward, Ia3Shape, backward, forward};
use tunesmith_benches::{Suite, normal};

fn scaling(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "ia3, smollm2 down");
    let shape = Ia3Shape { num_tokens: 1024, features: 1536 };
    let len = shape.num_tokens * shape.features;
    let (x, ia3_l, grad_y) = (normal(len, 1), normal(shape.features, 2), normal(len, 3));
    let (mut y, mut grad_x, mut grad_ia3_l) = (vec![0.0; len], vec![0.0; len], vec![0.0; shape.features]);
    let bytes = |streams: usize| Throughput::Bytes((streams * size_of_val(&x[..])) as u64);
    group.throughput(bytes(2));
    group.bench_function("forward", |bench| {
        bench.iter(|| forward(shape, Forward { x: black_box(&x), ia3_l: &ia3_l, y: &mut y }));
    });
    group.throughput(bytes(3));
    group.bench_function("backward", |bench| {
        bench.iter(|| {
            let (grad_x, grad_ia3_l) = (Some(&mut grad_x[..]), Some(&mut grad_ia3_l[..]));
            backward(shape, Backward { x: &x, ia3_l: &ia3_l, grad_y: black_box(&grad_y), grad_x, grad_ia3_l })
        });
    });
    group.finish();
}

criterion_group!(benches, scaling, cuda::scaling);
criterion_main!(benches);
