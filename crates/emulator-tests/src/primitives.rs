//! What each primitive computes.

use bytemuck::Pod;
use device::launch::{Executor, Kernel};
use half::bf16;

use crate::params::{PROBE_THREADS, ProbeParams};
use crate::{kernels, probe};

const THREADS: usize = PROBE_THREADS as usize;

fn run<T: Pod>(kernel: &'static Kernel<ProbeParams>, input: &[T], output: usize, len: usize) -> Vec<f32> {
    let executor = Executor::emulated(7);
    let input = executor.upload(input).unwrap();
    let mut buffer = executor.allocate(output * size_of::<f32>()).unwrap();
    probe(&executor, kernel, &input, &mut buffer, len).unwrap();
    buffer.read().unwrap()
}

#[test]
fn a_tensor_core_tile_is_the_product() {
    // Small integers, whose products and sums are exact: one wrong element of a fragment changes the result.
    let a = |row: usize, column: usize| ((row * 5 + column * 3) % 17) as f32 - 8.0;
    let b = |row: usize, column: usize| ((row * 7 + column * 11) % 13) as f32 - 6.0;
    let left = (0..256).map(|i| bf16::from_f32(a(i / 16, i % 16)));
    let right = (0..128).map(|i| bf16::from_f32(b(i / 8, i % 8)));
    let expected: Vec<f32> = (0..128).map(|i| (0..16).map(|k| a(i / 8, k) * b(k, i % 8)).sum()).collect();
    assert_eq!(run(&kernels::PRIMITIVE_MMA, &left.chain(right).collect::<Vec<_>>(), 128, 128), expected);
}

#[test]
fn every_thread_gets_the_reduction_of_the_block() {
    let input: Vec<f32> = (0..THREADS).map(|i| ((i * 29) % 64) as f32 - 40.0).collect();
    let sum: f32 = input.iter().sum();
    assert_eq!(run(&kernels::PRIMITIVE_BLOCK_SUM_F32, &input, THREADS, THREADS), [sum; THREADS]);
    assert_eq!(run(&kernels::PRIMITIVE_BLOCK_SUM_F64, &input, THREADS, THREADS), [sum; THREADS]);
    assert_eq!(run(&kernels::PRIMITIVE_BLOCK_MAX, &input, THREADS, THREADS), [23.0; THREADS]);
}

#[test]
fn rounding_to_bf16_is_to_nearest_even() {
    // Every upper half of an f32, with lower halves around the tie: 0x7fff rounds down, 0x8000 to even, 0x8001 up.
    let lower = [0u32, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let inputs: Vec<f32> = (0..=0xffffu32).flat_map(|high| lower.map(|low| f32::from_bits(high << 16 | low))).collect();
    for chunk in inputs.chunks(251) {
        let output = run(&kernels::PRIMITIVE_ROUND_TO_BF16, chunk, chunk.len(), chunk.len());
        for (&value, rounded) in chunk.iter().zip(output) {
            let expected = bf16::from_f32(value).to_f32();
            assert!(
                rounded == expected || (rounded.is_nan() && expected.is_nan()),
                "{value:e}: {rounded:e} {expected:e}"
            );
        }
    }
}

#[test]
fn powers_of_two_are_accurate_down_to_the_smallest_normal_number() {
    let input: Vec<f32> = (0..64).map(|i| 8.0 - 2.109_375 * i as f32).collect();
    let output = run(&kernels::PRIMITIVE_EXP2_FLUSHED, &input, input.len(), input.len());
    for (x, got) in input.into_iter().zip(output) {
        // Two units in the last place.
        let expected = f64::from(x).exp2();
        assert!((f64::from(got) / expected - 1.0).abs() <= 2.0 / f64::from(1 << 22), "{x}: {got:e}");
    }
    let special = [0.0, -126.0, -126.5, -200.0, f32::NEG_INFINITY, f32::NAN];
    let output = run(&kernels::PRIMITIVE_EXP2_FLUSHED, &special, special.len(), special.len());
    assert_eq!(output[..5], [1.0, f32::MIN_POSITIVE, 0.0, 0.0, 0.0]);
    assert!(output[5].is_nan());
}

#[test]
fn an_asynchronous_copy_fills_with_zeroes() {
    for len in [0, 1, 5, 128, 130, 255, 256] {
        let input: Vec<f32> = (0..256).map(|i| if i < len { i as f32 + 1.0 } else { f32::NAN }).collect();
        let expected: Vec<f32> = (0..256).map(|i| if i < len { i as f32 + 1.0 } else { 0.0 }).collect();
        assert_eq!(run(&kernels::PRIMITIVE_ASYNC_COPY, &input, 256, len), expected, "{len}");
    }
}
