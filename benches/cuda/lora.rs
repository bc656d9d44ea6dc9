//! The LoRA projection as kernels: bf16 activations and base, all of the forward pass, all gradients of the backward pass.

use criterion::{Criterion, Throughput};
use device::DType;
use device::launch::DeviceBuffer;
use lora::launch::{Backward, Gradient, Group, Output, Projection, Saved, Weight, forward};
use lora::{LoraError, LoraShape};
use tunesmith_benches::{Gpu, Linear, Shapes, Suite};

struct Operands {
    shape: LoraShape,
    x: DeviceBuffer,
    weight: DeviceBuffer,
    lora_a: DeviceBuffer,
    lora_b: DeviceBuffer,
    y: DeviceBuffer,
    s: DeviceBuffer,
    grad_x: DeviceBuffer,
    grad_a: DeviceBuffer,
    grad_b: DeviceBuffer,
}

impl Operands {
    fn new(gpu: &Gpu, linear: &Linear, rank: usize, seed: u64) -> Self {
        let &Linear { tokens, inputs, outputs, .. } = linear;
        let normal = |len, site| gpu.normal(DType::BF16, len, 8 * seed + site);
        Self {
            shape: LoraShape::new(tokens, inputs, outputs, rank).expect("the rank fits"),
            x: normal(tokens * inputs, 0),
            weight: normal(outputs * inputs, 1),
            lora_a: normal(rank * inputs, 2),
            lora_b: normal(outputs * rank, 3),
            y: normal(tokens * outputs, 4),
            s: normal(tokens * rank, 5),
            grad_x: gpu.empty(DType::BF16, tokens * inputs),
            grad_a: gpu.empty(DType::F32, rank * inputs),
            grad_b: gpu.empty(DType::F32, outputs * rank),
        }
    }

    fn projection(&self) -> Projection<'_> {
        Projection {
            shape: self.shape,
            weight: Weight::Dense { buffer: &self.weight, transposed: false },
            bias: None,
            lora_a: &self.lora_a,
            lora_b: &self.lora_b,
            lora_bias: None,
            scaling: 2.0,
            dropout: None,
        }
    }

    fn forward(&mut self) -> Result<(), LoraError> {
        // Buffers are shared by clones; the pass writes these two.
        let (mut y, mut s) = (self.y.clone(), self.s.clone());
        let group = Group { dtype: DType::BF16, x: &self.x, projections: &[self.projection()] };
        forward(group, &mut [Output { y: &mut y, s: &mut s }])
    }

    /// `y` stands for its gradient.
    fn backward(&mut self) -> Result<(), LoraError> {
        let (mut grad_x, mut grad_a, mut grad_b) = (self.grad_x.clone(), self.grad_a.clone(), self.grad_b.clone());
        let projections = [self.projection()];
        let saved = [Saved { s: &self.s, grad_y: &self.y }];
        let backward = Backward::new(Group { dtype: DType::BF16, x: &self.x, projections: &projections }, &saved)?;
        let overwrite = |values| Gradient { values, add: false };
        backward.x(overwrite(&mut grad_x))?;
        backward.lora_a(&mut [overwrite(&mut grad_a)])?;
        backward.lora_b(&mut [overwrite(&mut grad_b)])
    }
}

pub(crate) fn projections(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let shapes = Shapes::read();
    let mut suite = Suite::new(criterion, "lora");
    for linear in shapes.linears() {
        let Linear { tokens, inputs, outputs, .. } = linear;
        let base = 2 * tokens * inputs * outputs;
        let low_rank = 2 * tokens * shapes.rank * (inputs + outputs);
        let bytes = 2 * (2 * tokens * inputs + inputs * outputs + tokens * outputs);
        let mut sets = gpu.sets(bytes, |seed| Operands::new(gpu, &linear, shapes.rank, seed as u64));
        suite.throughput(Throughput::Elements((base + low_rank) as u64));
        suite.launches(gpu, format!("forward, {linear}"), &mut sets, Operands::forward);
        suite.throughput(Throughput::Elements((base + 2 * low_rank) as u64));
        suite.launches(gpu, format!("backward, {linear}"), &mut sets, Operands::backward);
    }
    suite.finish();
}
