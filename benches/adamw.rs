//! The optimizer step and the gradient norm of a LoRA of rank 16 on all linears of SmolLM2-135M.
//!
//! Bound by memory: throughput is in bytes, every read and every write counted.

#[path = "cuda/adamw.rs"]
mod cuda;

use std::hint::black_box;

use adamw::{AdamW, Group, Step, grad_norm, step};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tunesmith_benches::{Suite, normal};

fn optimizer(criterion: &mut Criterion) {
    const PARAMETERS: usize = 4_884_480;
    let mut group = Suite::new(criterion, "adamw, smollm2 r=16");
    let gradients = normal(PARAMETERS, 1);
    let mut parameters = normal(PARAMETERS, 2);
    let (mut exp_avg, mut exp_avg_sq) = (vec![0.0; PARAMETERS], vec![0.0; PARAMETERS]);
    let groups = [Group { range: 0..PARAMETERS, learning_rate: 1.0, weight_decay: 1.0 }];
    // Reads of four buffers and writes of three.
    group.throughput(Throughput::Bytes((7 * PARAMETERS * size_of::<f32>()) as u64));
    group.bench_function("step", |bench| {
        bench.iter(|| {
            step(
                &AdamW::default(),
                Step {
                    step: 10,
                    learning_rate: 1e-4,
                    grad_scale: 0.5,
                    groups: &groups,
                    gradients: black_box(&gradients),
                    parameters: &mut parameters,
                    exp_avg: &mut exp_avg,
                    exp_avg_sq: &mut exp_avg_sq,
                },
            )
        });
    });
    group.throughput(Throughput::Bytes((PARAMETERS * size_of::<f32>()) as u64));
    group.bench_function("grad_norm", |bench| bench.iter(|| grad_norm(black_box(&gradients))));
    group.finish();
}

criterion_group!(benches, optimizer, cuda::optimizer);
criterion_main!(benches);
