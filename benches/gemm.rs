//! Dense products of real models: forward `x W^T`, input gradient `dY W`, weight gradient `dY^T x`, one decoded token.
//!
//! The throughput is in floating-point operations, `2 m n k` a product: criterion's "Gelem/s" reads GFLOP/s.

#[path = "cuda/gemm.rs"]
mod cuda;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::Elements;
use gemm::{Matrix, MatrixMut, Update, gemm};
use half::bf16;
use tunesmith_benches::{Suite, normal};

/// Tokens, input features, output features, and where they are from.
const SHAPES: [(usize, usize, usize, &str); 12] = [
    (1024, 2048, 2048, "tinyllama q_proj"),
    (1024, 576, 1536, "smollm2 gate_proj"),
    (1024, 1536, 576, "smollm2 down_proj"),
    (1024, 576, 576, "smollm2 q_proj"),
    (1024, 576, 192, "smollm2 k_proj"),
    (1024, 768, 2304, "gpt2 c_attn"),
    (1024, 768, 3072, "gpt2 c_fc"),
    (512, 896, 4864, "qwen2 gate_proj"),
    (512, 2048, 5632, "tinyllama gate_proj"),
    (1024, 576, 49152, "smollm2 lm_head"),
    (1024, 576, 16, "smollm2 lora_A"),
    (1024, 16, 1536, "smollm2 lora_B"),
];

/// What is multiplied: tokens `t`, weight `W [out, in]`.
#[derive(Clone, Copy)]
enum Direction {
    Forward,
    InputGradient,
    WeightGradient,
}

fn products(criterion: &mut Criterion) {
    for (direction, name) in
        [(Direction::Forward, "x W^T"), (Direction::InputGradient, "dY W"), (Direction::WeightGradient, "dY^T x")]
    {
        let mut group = Suite::new(criterion, format!("gemm {name}"));
        group.sample_size(10);
        for (tokens, inputs, outputs, site) in SHAPES {
            let x = normal(tokens * inputs, 1);
            let y = normal(tokens * outputs, 2);
            let w = normal(outputs * inputs, 3);
            let w_bf16: Vec<bf16> = w.iter().map(|&v| bf16::from_f32(v)).collect();
            let x = Matrix::new(&x[..], tokens, inputs);
            let y = Matrix::new(&y[..], tokens, outputs);
            group.throughput(Throughput::Elements((2 * tokens * inputs * outputs) as u64));
            for (weight, dtype) in [(Elements::F32(&w), "f32"), (Elements::BF16(&w_bf16), "bf16")] {
                let w = Matrix::new(weight, outputs, inputs);
                let (a, b) = match direction {
                    Direction::Forward => (x, w.transposed()),
                    Direction::InputGradient => (y, w),
                    Direction::WeightGradient if dtype == "f32" => (y.transposed(), x),
                    Direction::WeightGradient => continue,
                };
                let (m, n) = (a.rows(), b.cols());
                let mut c = vec![0.0; m * n];
                group.bench_function(format!("{site} {tokens}x{inputs}x{outputs}, {dtype}"), |bench| {
                    bench.iter(|| {
                        gemm(1.0, black_box(a), black_box(b), Update::Overwrite, MatrixMut::new(&mut c, m, n))
                    });
                });
            }
        }
        group.finish();
    }
}

/// One token against a whole weight: bound by memory, so the throughput is in bytes of the weight.
fn decode(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "gemm one token");
    group.sample_size(20);
    for (inputs, outputs, site) in [(2048, 5632, "tinyllama gate_proj"), (576, 49152, "smollm2 lm_head")] {
        let x = normal(inputs, 1);
        let w = normal(outputs * inputs, 2);
        let w_bf16: Vec<bf16> = w.iter().map(|&v| bf16::from_f32(v)).collect();
        let mut y = vec![0.0; outputs];
        for (weight, dtype) in [(Elements::F32(&w), "f32"), (Elements::BF16(&w_bf16), "bf16")] {
            group.throughput(Throughput::Bytes((weight.len() * weight.dtype().size_bytes()) as u64));
            let (a, b) = (Matrix::new(&x[..], 1, inputs), Matrix::new(weight, outputs, inputs).transposed());
            group.bench_function(format!("{site}, {dtype}"), |bench| {
                bench.iter(|| {
                    gemm(1.0, black_box(a), black_box(b), Update::Overwrite, MatrixMut::new(&mut y, 1, outputs))
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, products, decode, cuda::products);
criterion_main!(benches);
