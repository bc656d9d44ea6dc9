//! Products on Hopper: what the primitives compute, and that each planted bug is caught.

use device::DeviceError;
use device::launch::{Architecture, Executor, Grid, Kernel, TiledMatrix};
use half::bf16;

use crate::kernels;
use crate::params::{HOPPER_PROBE_SHARED_BYTES, HOPPER_PROBE_THREADS, HopperProbeParams, ProbeTensorMap};

/// Small integers, whose products and sums are exact: one element in a wrong place changes the result.
fn a(row: usize, depth: usize) -> f32 {
    ((row * 5 + depth * 3) % 17) as f32 - 8.0
}

fn b(depth: usize, column: usize) -> f32 {
    ((depth * 7 + column * 11) % 13) as f32 - 6.0
}

/// The product of `A [64, depth]` and `B [depth, 256]`, with columns of `B` along or across the depth.
fn run(kernel: &'static Kernel<HopperProbeParams>, b_along: bool, depth: usize) -> Result<Vec<f32>, DeviceError> {
    let executor = Executor::emulated_as(Architecture::Hopper, 5);
    let matrix = |rows: usize, cols: usize, value: &dyn Fn(usize, usize) -> f32| {
        // Rows begin at multiples of 16 bytes; what is between them must not be read.
        let stride = cols.next_multiple_of(8);
        let element = |i: usize| if i % stride < cols { value(i / stride, i % stride) } else { f32::NAN };
        let values: Vec<bf16> = (0..rows * stride).map(|i| bf16::from_f32(element(i))).collect();
        (executor.upload(&values).unwrap(), TiledMatrix { rows, cols, row_stride: stride, box_rows: 64 })
    };
    let (left, left_tiles) = matrix(64, depth, &a);
    let (right, right_tiles) = match b_along {
        true => matrix(256, depth, &|column, depth| b(depth, column)),
        false => matrix(depth, 256, &b),
    };
    let right_tiles = TiledMatrix { box_rows: if b_along { 256 } else { 64 }, ..right_tiles };
    let output = executor.allocate(64 * 256 * size_of::<f32>())?;
    let params = HopperProbeParams {
        a: ProbeTensorMap { words: executor.tensor_map(&left, left_tiles)? },
        b: ProbeTensorMap { words: executor.tensor_map(&right, right_tiles)? },
        output: output.address(),
        padding: [0; 7],
    };
    let grid = Grid::linear(1, HOPPER_PROBE_THREADS).with_shared(HOPPER_PROBE_SHARED_BYTES);
    // SAFETY: the matrices are as large as their maps say, and the output as the kernel writes.
    unsafe { executor.launch(kernel, grid, &params)? };
    output.read()
}

#[test]
fn a_product_of_boxes_is_the_product() {
    for depth in [64, 40, 13] {
        let value = |i: usize| (0..depth).map(|k| a(i / 256, k) * b(k, i % 256)).sum::<f32>();
        let expected: Vec<f32> = (0..64 * 256).map(value).collect();
        assert_eq!(run(&kernels::HOPPER_PRODUCT_ALONG, true, depth).unwrap(), expected, "along, {depth}");
        assert_eq!(run(&kernels::HOPPER_PRODUCT_ACROSS, false, depth).unwrap(), expected, "across, {depth}");
    }
}

#[test]
fn what_threads_write_is_not_multiplied_unless_it_is_shown() {
    assert_eq!(run(&kernels::HOPPER_PRODUCT_OF_ZEROS, true, 64).unwrap(), [0.0; 64 * 256]);
    let before = run(&kernels::HOPPER_PRODUCT_ALONG, true, 64).unwrap();
    assert_eq!(run(&kernels::PLANTED_NOT_SHOWN, true, 64).unwrap(), before);
}

#[test]
fn a_box_that_has_not_landed_is_nan() {
    for kernel in [&kernels::PLANTED_BOX_NOT_WAITED_FOR, &kernels::PLANTED_TILE_OVERWRITTEN] {
        let output = run(kernel, true, 64).unwrap();
        assert!(output.iter().any(|value| value.is_nan()), "{}", kernel.name());
    }
}

#[test]
fn a_product_that_is_not_waited_for_is_missing() {
    assert_eq!(run(&kernels::PLANTED_PRODUCT_NOT_WAITED_FOR, true, 64).unwrap(), [0.0; 64 * 256]);
}

#[test]
fn a_phase_that_never_ends_is_named_with_its_place() {
    let Err(DeviceError::KernelFault { kernel, fault }) = run(&kernels::PLANTED_NOBODY_ARRIVES, true, 64) else {
        panic!("the kernel waits for ever");
    };
    assert_eq!(kernel, "planted_nobody_arrives");
    assert!(
        fault.contains("threads wait for ever: thread 0 waits at an mbarrier (cuda/common/mbarrier.cuh:"),
        "{fault}"
    );
}
