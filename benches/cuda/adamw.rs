//! The optimizer step and the gradient norm as kernels, over one flat f32 buffer with a bf16 copy of the parameters.

use adamw::launch::{GradNorm, Step, step};
use adamw::{AdamW, Group};
use criterion::{Criterion, Throughput};
use device::DType;
use tunesmith_benches::{Gpu, Shapes, Suite};

pub(crate) fn optimizer(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let len = Shapes::read().trainable_parameters;
    let groups = [Group { range: 0..len, learning_rate: 1.0, weight_decay: 1.0 }];
    let grad_scale = gpu.executor().upload(&[0.5f32]).expect("there is memory");
    let mut suite = Suite::new(criterion, "adamw");
    // Gradients; parameters and both moments.
    let normal = |seed| gpu.normal(DType::F32, len, seed);
    let mut sets = gpu.sets(18 * len, |seed| {
        let second = gpu.empty(DType::F32, len);
        ([normal(seed as u64), normal(1), normal(2), second], gpu.empty(DType::BF16, len))
    });
    sets.iter_mut().for_each(|([.., second], _)| second.zero().unwrap_or_else(|error| panic!("{error}")));
    // Reads of four buffers, writes of three and of the copy.
    suite.throughput(Throughput::Bytes((len * (7 * 4 + 2)) as u64));
    suite.launches(gpu, format!("step, {len} parameters"), &mut sets, |(buffers, shadow)| {
        let [gradients, parameters, exp_avg, exp_avg_sq] = buffers;
        let args = Step {
            step: 10,
            learning_rate: 1e-4,
            grad_scale: &grad_scale,
            groups: &groups,
            gradients,
            parameters,
            exp_avg,
            exp_avg_sq,
            shadow: Some(shadow),
        };
        step(&AdamW::default(), args)
    });
    let mut norm = GradNorm::new(gpu.executor(), len).expect("there is memory");
    let losses = gpu.executor().upload(&[1.0f32]).expect("there is memory");
    suite.throughput(Throughput::Bytes((4 * len) as u64));
    suite.launches(gpu, format!("grad_norm, {len} parameters"), &mut sets, |([gradients, ..], _)| {
        norm.clip(gradients, &losses, 1.0)
    });
    suite.finish();
}
