//! NF4 as kernels: blocks of 64 with double quantization, values in bf16.
//!
//! Quantizing, dequantizing and the product of a single token are bound by memory: throughput is in bytes. The products of more
//! tokens are in operations.

use criterion::{Criterion, Throughput};
use device::DType;
use device::launch::DeviceBuffer;
use nf4::launch::{
    Absmax, Blocks, Dequantize, GradX, Linear, Matrix, Matvec, NestedAbsmax, Quantize, QuantizeAbsmax, dequantize,
    grad_x, linear, matvec, quantize, quantize_absmax,
};
use nf4::{NESTED_BLOCK_SIZE, Nf4Shape, dynamic_map};
use tunesmith_benches::{Gpu, Linear as Shape, Shapes, Suite};

/// A quantized weight `[rows, columns]`.
struct Weight {
    shape: Nf4Shape,
    size: [usize; 2],
    packed: DeviceBuffer,
    codes: DeviceBuffer,
    map: DeviceBuffer,
    nested_absmax: DeviceBuffer,
    offset: DeviceBuffer,
}

impl Weight {
    /// Quantizes normal values.
    fn new(gpu: &Gpu, size: [usize; 2], seed: u64) -> Self {
        let executor = gpu.executor();
        let shape = Nf4Shape::new(size[0] * size[1], 64).expect("64 is a block size");
        let x = gpu.normal(DType::BF16, shape.num_elements(), seed);
        let bytes = |len: usize| executor.allocate(len).unwrap_or_else(|error| panic!("{error}"));
        let (mut packed, mut absmax) = (bytes(shape.packed_len()), gpu.empty(DType::F32, shape.num_blocks()));
        let args = Quantize { dtype: DType::BF16, x: &x, packed: &mut packed, absmax: &mut absmax };
        quantize(&shape, args).unwrap_or_else(|error| panic!("{error}"));
        let map = executor.upload(dynamic_map()).unwrap_or_else(|error| panic!("{error}"));
        let mut codes = bytes(shape.num_blocks());
        let mut nested_absmax = gpu.empty(DType::F32, shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE));
        let mut offset = gpu.empty(DType::F32, 1);
        quantize_absmax(QuantizeAbsmax {
            absmax: &absmax,
            map: &map,
            codes: &mut codes,
            nested_absmax: &mut nested_absmax,
            offset: &mut offset,
        })
        .unwrap_or_else(|error| panic!("{error}"));
        Self { shape, size, packed, codes, map, nested_absmax, offset }
    }

    fn blocks(&self) -> Blocks<'_> {
        let absmax = Absmax::Nested(NestedAbsmax {
            codes: &self.codes,
            map: &self.map,
            nested_absmax: &self.nested_absmax,
            offset: &self.offset,
            nested_block_size: NESTED_BLOCK_SIZE,
        });
        Blocks { shape: self.shape, packed: &self.packed, absmax, dtype: DType::BF16 }
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.blocks(), self.size).expect("the sizes are the shape's")
    }

    /// Bytes of what is stored.
    fn stored(&self) -> usize {
        [&self.packed, &self.codes, &self.nested_absmax].into_iter().map(DeviceBuffer::len_bytes).sum()
    }
}

pub(crate) fn blocks(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let shapes = Shapes::read();
    let size = [shapes.hidden_size, shapes.intermediate_size];
    let len = size[0] * size[1];
    let mut suite = Suite::new(criterion, "nf4");
    let mut sets = gpu.sets(2 * len, |seed| (Weight::new(gpu, size, seed as u64), gpu.empty(DType::BF16, len)));
    let stored = sets.first().map_or(0, |(weight, _)| weight.stored());
    suite.throughput(Throughput::Bytes((stored + 2 * len) as u64));
    suite.launches(gpu, format!("dequantize, {}x{}", size[0], size[1]), &mut sets, |(weight, out)| {
        dequantize(Dequantize { blocks: weight.blocks(), dtype: DType::BF16, first: 0, out })
    });
    let mut sets = gpu.sets(2 * len, |seed| {
        let shape = Nf4Shape::new(len, 64).expect("64 is a block size");
        let packed = gpu.executor().allocate(shape.packed_len()).unwrap_or_else(|error| panic!("{error}"));
        (shape, gpu.normal(DType::BF16, len, seed as u64), packed, gpu.empty(DType::F32, shape.num_blocks()))
    });
    let written = sets.first().map_or(0, |(_, _, packed, absmax)| packed.len_bytes() + absmax.len_bytes());
    suite.throughput(Throughput::Bytes((2 * len + written) as u64));
    suite.launches(gpu, format!("quantize, {}x{}", size[0], size[1]), &mut sets, |(shape, x, packed, absmax)| {
        quantize(shape, Quantize { dtype: DType::BF16, x, packed, absmax })
    });
    suite.finish();
}

pub(crate) fn products(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let shapes = Shapes::read();
    let mut suite = Suite::new(criterion, "nf4");
    for shape in shapes.linears() {
        let Shape { tokens, inputs, outputs, .. } = shape;
        let bytes = inputs * outputs / 2 + 2 * tokens * (inputs + outputs);
        let mut sets = gpu.sets(bytes, |seed| {
            let seed = 4 * seed as u64;
            let weight = Weight::new(gpu, [outputs, inputs], seed);
            (
                weight,
                gpu.normal(DType::BF16, tokens * inputs, seed + 1),
                gpu.normal(DType::BF16, tokens * outputs, seed + 2),
            )
        });
        let dtype = DType::BF16;
        suite.throughput(Throughput::Elements((2 * tokens * inputs * outputs) as u64));
        suite.launches(gpu, format!("linear, {shape}"), &mut sets, |(weight, x, y)| {
            linear(Linear { dtype, num_tokens: tokens, x, weight: weight.matrix(), bias: None, y })
        });
        suite.launches(gpu, format!("grad_x, {shape}"), &mut sets, |(weight, dx, grad_y)| {
            grad_x(GradX { dtype, num_tokens: tokens, grad_y, weight: weight.matrix(), grad_x: dx, add: false })
        });
        if tokens != shapes.most_tokens() {
            continue;
        }
        let stored = sets.first().map_or(0, |(weight, ..)| weight.stored());
        suite.throughput(Throughput::Bytes((stored + 2 * (inputs + outputs)) as u64));
        let mut rows = gpu.sets(stored, |seed| {
            let seed = 4 * seed as u64;
            (Weight::new(gpu, [outputs, inputs], seed), gpu.normal(dtype, inputs, seed + 1), gpu.empty(dtype, outputs))
        });
        suite.launches(gpu, format!("matvec, {outputs}x{inputs}"), &mut rows, |(weight, x, y)| {
            matvec(Matvec { dtype, num_tokens: 1, x, weight: weight.matrix(), low_rank: None, bias: None, y })
        });
    }
    suite.finish();
}
