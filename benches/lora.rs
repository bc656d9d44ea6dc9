//! The LoRA projection on the shapes of SmolLM2-135M with 1024 tokens and rank 16, forward and backward, each beside the plain
//! product that a frozen projection costs.
//!
//! The throughput is in floating-point operations of all products: criterion's "Gelem/s" reads GFLOP/s.

#[path = "cuda/lora.rs"]
mod cuda;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::philox::Stream;
use device::{DType, Elements};
use gemm::{Matrix, MatrixMut, Update, gemm};
use half::bf16;
use lora::{Adapter, Backward, Dropout, Forward, Input, LoraShape, Saved, forward};
use tunesmith_benches::{Suite, normal};

const TOKENS: usize = 1024;
const RANK: usize = 16;
/// Input features, output features, and where they are from.
const SHAPES: [(usize, usize, &str); 4] =
    [(576, 576, "q_proj"), (576, 192, "k_proj"), (576, 1536, "gate_proj"), (1536, 576, "down_proj")];

/// One projection with its own memory and a weight as checkpoints store it.
struct Projection {
    shape: LoraShape,
    x: Vec<f32>,
    grad_y: Vec<f32>,
    weight: Vec<bf16>,
    lora_a: Vec<f32>,
    lora_b: Vec<f32>,
    dropout: Option<Dropout>,
    s: Vec<f32>,
}

impl Projection {
    fn new(inputs: usize, outputs: usize, dropout: Option<Dropout>) -> Self {
        Self {
            shape: LoraShape::new(TOKENS, inputs, outputs, RANK).unwrap(),
            x: normal(TOKENS * inputs, 1),
            grad_y: normal(TOKENS * outputs, 2),
            weight: normal(outputs * inputs, 3).into_iter().map(bf16::from_f32).collect(),
            lora_a: normal(RANK * inputs, 4),
            lora_b: normal(outputs * RANK, 5),
            dropout,
            s: normal(TOKENS * RANK, 6),
        }
    }

    fn weight(&self) -> Matrix<'_> {
        Matrix::new(Elements::BF16(&self.weight), self.shape.out_features(), self.shape.in_features())
    }

    fn adapter(&self) -> Adapter<'_> {
        Adapter { lora_a: &self.lora_a, lora_b: &self.lora_b, lora_bias: None, scaling: 2.0, dropout: self.dropout }
    }

    /// Operations of the base product.
    fn base_flops(&self) -> usize {
        2 * TOKENS * self.shape.in_features() * self.shape.out_features()
    }

    /// Operations of a product with a side of the rank for both sides of the projection.
    fn low_rank_flops(&self) -> usize {
        2 * TOKENS * RANK * (self.shape.in_features() + self.shape.out_features())
    }
}

fn forwards(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "lora forward");
    group.sample_size(10);
    for (inputs, outputs, site) in SHAPES {
        let size = format!("{TOKENS}x{inputs}x{outputs}");
        let mut y = vec![0.0; TOKENS * outputs];
        for (name, dropout) in
            [("lora", None), ("lora, dropout", Some(Dropout::new(0.1, Stream::new(1, 2, 3)).unwrap()))]
        {
            let projection = Projection::new(inputs, outputs, dropout);
            let mut s = vec![0.0; TOKENS * RANK];
            group.throughput(Throughput::Elements((projection.base_flops() + projection.low_rank_flops()) as u64));
            group.bench_function(format!("{site} {size}, {name}"), |bench| {
                bench.iter(|| {
                    let input = Input::forward(black_box(&projection.x), [TOKENS, inputs], DType::F32)?;
                    let (weight, adapter) = (Some(projection.weight()), projection.adapter());
                    let arguments = Forward { input: &input, weight, bias: None, adapter, y: &mut y, s: &mut s };
                    forward(&projection.shape, arguments)
                });
            });
        }
        let projection = Projection::new(inputs, outputs, None);
        group.throughput(Throughput::Elements(projection.base_flops() as u64));
        group.bench_function(format!("{site} {size}, gemm alone"), |bench| {
            let x = Matrix::new(&projection.x[..], TOKENS, inputs);
            let weight = projection.weight().transposed();
            bench.iter(|| gemm(1.0, black_box(x), weight, Update::Overwrite, MatrixMut::new(&mut y, TOKENS, outputs)));
        });
    }
    group.finish();
}

fn backwards(criterion: &mut Criterion) {
    let mut group = Suite::new(criterion, "lora backward");
    group.sample_size(10);
    for (inputs, outputs, site) in SHAPES {
        let size = format!("{TOKENS}x{inputs}x{outputs}");
        let projection = Projection::new(inputs, outputs, None);
        let mut grad_x = vec![0.0; TOKENS * inputs];
        let (mut grad_a, mut grad_b) = (vec![0.0; RANK * inputs], vec![0.0; outputs * RANK]);
        // dY W; dS and dS A; dA and dB.
        group.throughput(Throughput::Elements((projection.base_flops() + 2 * projection.low_rank_flops()) as u64));
        group.bench_function(format!("{site} {size}, lora"), |bench| {
            let (weight, adapter, s) = (projection.weight(), projection.adapter(), &projection.s[..]);
            bench.iter(|| {
                let input = Input::saved(projection.x[..].into(), [TOKENS, inputs], DType::F32, &[adapter])?;
                let saved = Saved { input: &input, weight: Some(weight), adapter, s };
                let backward = Backward::new(&projection.shape, saved, black_box(&projection.grad_y))?;
                lora::grad_x(std::slice::from_ref(&backward), Update::Overwrite, &mut grad_x)?;
                backward.lora_a(Update::Accumulate, &mut grad_a)?;
                backward.lora_b(Update::Accumulate, &mut grad_b)
            });
        });
        group.throughput(Throughput::Elements(projection.base_flops() as u64));
        group.bench_function(format!("{site} {size}, gemm alone"), |bench| {
            let grad_y = Matrix::new(&projection.grad_y[..], TOKENS, outputs);
            bench.iter(|| {
                let to = MatrixMut::new(&mut grad_x, TOKENS, inputs);
                gemm(1.0, black_box(grad_y), projection.weight(), Update::Overwrite, to)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, forwards, backwards, cuda::projections);
criterion_main!(benches);
