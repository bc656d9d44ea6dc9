//! NF4 on the largest projection of Llama-3-8B, and on one of SmolLM2-135M that stays in the cache.
//!
//! Bound by memory: throughput is in bytes, codes, scales and values counted once. `copy` moves as many bytes, half of
//! them read and half written: what the machine can do.

#[path = "cuda/nf4.rs"]
mod cuda;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::{Buffer, DType, Device, Element, Elements, parallel};
use half::bf16;
use nf4::{
    Absmax, Dequantize, NESTED_BLOCK_SIZE, NestedAbsmax, Nf4Shape, Quantize, QuantizeAbsmax, dequantize, dynamic_map,
    quantize, quantize_absmax,
};
use tunesmith_benches::{Suite, normal};

/// Elements that a task of `copy` takes: so many that the library's copy chooses what is best for memory.
const TASK: usize = 1 << 22;

fn scratch(dtype: DType, len: usize) -> Buffer {
    Buffer::zeroed(Device::Cpu, dtype, len).expect("there is memory")
}

fn blocks(criterion: &mut Criterion) {
    for (name, [rows, columns]) in [("llama-3-8b down", [4096, 14336]), ("smollm2 down", [576, 1536])] {
        let mut group = Suite::new(criterion, format!("nf4, {name}"));
        group.sample_size(10);
        let shape = Nf4Shape::new(rows * columns, 64).expect("64 is a block size");
        // The same 2^22 values again and again: what they are does not matter.
        let x: Vec<bf16> = normal(TASK, 1).into_iter().map(bf16::from_f32).cycle().take(shape.num_elements()).collect();
        let (mut packed, mut absmax) = (vec![0; shape.packed_len()], vec![0.0; shape.num_blocks()]);
        let (mut codes, mut nested_absmax) =
            (vec![0; shape.num_blocks()], vec![0.0; shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE)]);
        let stored = shape.packed_len() + 4 * shape.num_blocks();
        let bytes = |dtype: DType| stored + shape.num_elements() * dtype.size_bytes();

        group.throughput(Throughput::Bytes(bytes(DType::BF16) as u64));
        group.bench_function("quantize from bf16", |bench| {
            bench.iter(|| {
                let x = Elements::BF16(black_box(&x));
                quantize(&shape, Quantize { x, packed: &mut packed, absmax: &mut absmax })
            });
        });
        let args = QuantizeAbsmax { absmax: &absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
        let offset = quantize_absmax(args).expect("the lengths fit");
        let nested = Absmax::Nested(NestedAbsmax {
            codes: &codes,
            map: dynamic_map(),
            nested_absmax: &nested_absmax,
            offset,
            nested_block_size: NESTED_BLOCK_SIZE,
        });
        for (scales, absmax) in [("", Absmax::F32(&absmax)), (", double", nested)] {
            expand::<f32>(&mut group, &format!("dequantize to f32{scales}"), &shape, &packed, absmax);
            expand::<bf16>(&mut group, &format!("dequantize to bf16{scales}"), &shape, &packed, absmax);
        }
        let from = scratch(DType::F32, bytes(DType::F32) / 8);
        let mut to = scratch(DType::F32, from.len());
        let from = from.f32().expect("it is f32");
        group.throughput(Throughput::Bytes((8 * from.len()) as u64));
        group.bench_function("copy", |bench| {
            let to = to.f32_mut().expect("it is f32");
            bench.iter(|| {
                let copy = |start: usize, to: &mut [f32]| to.copy_from_slice(&black_box(from)[start..][..to.len()]);
                parallel::rows_mut(to, 1, TASK, copy);
            });
        });
        group.finish();
    }
}

fn expand<T: Element>(group: &mut Suite<'_>, name: &str, shape: &Nf4Shape, packed: &[u8], absmax: Absmax<'_>) {
    let mut out = scratch(T::DTYPE, shape.num_elements());
    let out = out.as_mut_slice::<T>().expect("it was made so");
    let scales = match absmax {
        Absmax::F32(absmax) => size_of_val(absmax),
        Absmax::Nested(nested) => nested.codes.len() + size_of_val(nested.nested_absmax),
    };
    group.throughput(Throughput::Bytes((packed.len() + scales + size_of_val(out)) as u64));
    group.bench_function(name, |bench| {
        bench.iter(|| dequantize(shape, Dequantize { packed: black_box(packed), absmax, first: 0, out }));
    });
}

criterion_group!(benches, blocks, cuda::blocks, cuda::products);
criterion_main!(benches);
