//! Scaling of channels as kernels, with bf16 activations.

use criterion::{Criterion, Throughput};
use device::DType;
use ia3::Ia3Shape;
use ia3::launch::{Backward, Forward, backward, forward};
use tunesmith_benches::{Gpu, Shapes, Suite};

pub(crate) fn scaling(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let shapes = Shapes::read();
    let shape = Ia3Shape { num_tokens: shapes.most_tokens(), features: shapes.intermediate_size };
    let len = shape.num_tokens * shape.features;
    let name = |pass| format!("{pass}, {}x{}", shape.num_tokens, shape.features);
    let ia3_l = gpu.normal(DType::F32, shape.features, 1);
    let mut grad_l = gpu.empty(DType::F32, shape.features);
    let mut sets = gpu.sets(6 * len, |seed| {
        let normal = |site| gpu.normal(DType::BF16, len, (2 * seed + site) as u64);
        ([normal(0), normal(1)], gpu.empty(DType::BF16, len))
    });
    let mut suite = Suite::new(criterion, "ia3");
    suite.throughput(Throughput::Bytes((2 * 2 * len) as u64));
    suite.launches(gpu, name("forward"), &mut sets, |([x, _], y)| {
        forward(shape, Forward { dtype: DType::BF16, x, ia3_l: &ia3_l, y })
    });
    suite.throughput(Throughput::Bytes((3 * 2 * len) as u64));
    suite.launches(gpu, name("backward"), &mut sets, |([x, grad_y], grad_x)| {
        let (grad_x, grad_ia3_l) = (Some(grad_x), Some(&mut grad_l));
        backward(shape, Backward { dtype: DType::BF16, x, ia3_l: &ia3_l, grad_y, grad_x, grad_ia3_l })
    });
    suite.finish();
}
