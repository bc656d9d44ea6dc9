//! What stands around the products of a block as kernels, in bf16.

use criterion::{Criterion, Throughput};
use device::DType::{BF16, F32};
use device::launch::DeviceBuffer;
use transformer::launch::cross_entropy::{Labels, Sums};
use transformer::launch::gated::{self, GateUp};
use transformer::launch::rope::{self, Tables};
use transformer::launch::{Gradient, cross_entropy, rms_norm};
use transformer::{Activation, RopeTable, TransformerError};
use tunesmith_benches::{Gpu, Shapes, Suite};

/// Bytes of `streams` passes over `len` bf16 values.
fn bytes(streams: usize, len: usize) -> Throughput {
    Throughput::Bytes((2 * streams * len) as u64)
}

pub(crate) fn block(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let shapes = Shapes::read();
    let mut suite = Suite::new(criterion, "transformer");
    norms(&mut suite, gpu, shapes.most_tokens(), shapes.hidden_size);
    swiglu(&mut suite, gpu, shapes.most_tokens(), shapes.intermediate_size);
    rotary(&mut suite, gpu, shapes.most_tokens(), [shapes.num_heads, shapes.head_dim]);
    loss(&mut suite, gpu, shapes.logits_rows, shapes.vocab_size);
    suite.finish();
}

/// `count` buffers of normal values and one for results.
fn streams<const N: usize>(gpu: &Gpu, len: usize, seed: usize) -> ([DeviceBuffer; N], DeviceBuffer) {
    (std::array::from_fn(|site| gpu.normal(BF16, len, (8 * seed + site) as u64)), gpu.empty(BF16, len))
}

fn norms(suite: &mut Suite<'_>, gpu: &Gpu, rows: usize, hidden: usize) {
    let (len, shape) = (rows * hidden, transformer::rms_norm::Shape { rows, hidden, eps: 1e-5, unit_offset: false });
    let weight = gpu.normal(BF16, hidden, 1);
    let mut sets = gpu.sets(6 * len, |seed| (streams::<2>(gpu, len, seed), gpu.normal(F32, rows, 2)));
    suite.throughput(bytes(2, len));
    suite.launches(gpu, format!("rms_norm forward, {rows}x{hidden}"), &mut sets, |(([x, _], y), rstd)| {
        rms_norm::forward(shape, rms_norm::Forward { dtype: BF16, x, weight: &weight, y, rstd })
    });
    suite.throughput(bytes(3, len));
    suite.launches(gpu, format!("rms_norm backward, {rows}x{hidden}"), &mut sets, |(([x, dy], dx), rstd)| {
        let dx = Some(Gradient { values: dx, add: false });
        rms_norm::backward(shape, rms_norm::Backward { dtype: BF16, x, weight: &weight, rstd, dy, dx, dweight: None })
    });
}

fn swiglu(suite: &mut Suite<'_>, gpu: &Gpu, rows: usize, features: usize) {
    let (len, shape) = (rows * features, transformer::gated::Shape { rows, features });
    let mut sets = gpu.sets(8 * len, |seed| (streams::<3>(gpu, len, seed), gpu.empty(BF16, len)));
    suite.throughput(bytes(3, len));
    suite.launches(gpu, format!("swiglu forward, {rows}x{features}"), &mut sets, |(([gate, up, _], y), _)| {
        gated::forward(shape, BF16, Activation::Silu, GateUp::Separate { gate: &*gate, up: &*up }, y)
    });
    suite.throughput(bytes(5, len));
    suite.launches(gpu, format!("swiglu backward, {rows}x{features}"), &mut sets, |(([gate, up, dy], dgate), dup)| {
        let gate_up = GateUp::Separate { gate: &*gate, up: &*up };
        let gradient = GateUp::Separate { gate: dgate, up: dup };
        gated::backward(shape, Activation::Silu, gated::Backward { dtype: BF16, gate_up, dy, gradient })
    });
}

fn rotary(suite: &mut Suite<'_>, gpu: &Gpu, rows: usize, [num_heads, head_dim]: [usize; 2]) {
    let half = head_dim / 2;
    let inv_freq: Vec<f32> = (0..half).map(|j| 500_000f32.powf(-(j as f32) / half as f32)).collect();
    let table = RopeTable::from_frequencies(&inv_freq, 1.0, rows).expect("the frequencies make a table");
    let tables = Tables::new(gpu.executor(), &table).expect("there is memory");
    let angles = tables.angles(&(0..rows as u32).collect::<Vec<_>>()).expect("the positions fit");
    let len = rows * num_heads * head_dim;
    let mut sets = gpu.sets(4 * len, |seed| streams::<1>(gpu, len, seed));
    suite.throughput(bytes(2, len));
    suite.launches(gpu, format!("rope, {rows}x{}", num_heads * head_dim), &mut sets, |([x], y)| {
        let shape = transformer::rope::Shape::contiguous(rows, num_heads, head_dim);
        rope::forward(shape, rope::Forward { dtype: BF16, x, angles: &angles, y })
    });
}

fn loss(suite: &mut Suite<'_>, gpu: &Gpu, rows: usize, vocab_size: usize) {
    let (len, shape) = (rows * vocab_size, transformer::cross_entropy::Shape { rows, vocab_size, softcap: None });
    let labels: Vec<i64> = (0..rows).map(|i| (i * 7919 % vocab_size) as i64).collect();
    let labels = Labels::new(gpu.executor(), &labels, vocab_size).expect("the labels fit");
    let mut sums = Sums::new(gpu.executor()).expect("there is memory");
    // The logits become their gradient, which is then taken for logits: the time does not depend on them.
    let mut sets = gpu.sets(2 * len, |seed| gpu.normal(BF16, len, seed as u64));
    suite.throughput(bytes(2, len));
    suite.launches(
        gpu,
        format!("cross_entropy, {rows}x{vocab_size}"),
        &mut sets,
        |logits| -> Result<(), TransformerError> {
            cross_entropy::forward_backward(shape, BF16, logits, &labels, 1.0, &mut sums)
        },
    );
}
