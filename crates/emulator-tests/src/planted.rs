//! Each planted bug is caught, and the message names the kernel and the bug.

use device::DeviceError;
use device::launch::{Executor, Kernel};

use crate::params::{PROBE_THREADS, ProbeParams};
use crate::{kernels, probe};

const LEN: usize = PROBE_THREADS as usize;

/// The output of one block over ascending inputs, or its fault.
fn run(kernel: &'static Kernel<ProbeParams>, seed: u64, len: usize) -> Result<Vec<f32>, DeviceError> {
    let executor = Executor::emulated(seed);
    let input: Vec<f32> = (0..4 * LEN).map(|i| i as f32).collect();
    let input = executor.upload(&input)?;
    let mut output = executor.allocate(len * size_of::<f32>())?;
    probe(&executor, kernel, &input, &mut output, len)?;
    output.read()
}

fn fault(kernel: &'static Kernel<ProbeParams>, len: usize) -> String {
    match run(kernel, 0, len) {
        Err(DeviceError::KernelFault { kernel: name, fault }) if name == kernel.name() => fault,
        other => panic!("{} should fail, got {other:?}", kernel.name()),
    }
}

#[test]
fn a_correct_kernel_gives_the_same_for_every_order_of_its_warps() {
    let expected: Vec<f32> = (0..LEN).map(|i| ((i + 32) % LEN) as f32).collect();
    for seed in 0..20 {
        assert_eq!(run(&kernels::PLANTED_NONE, seed, LEN).unwrap(), expected);
    }
}

#[test]
fn a_missing_barrier_changes_the_result_with_the_seed() {
    let runs: Vec<Vec<u32>> = (0..20)
        .map(|seed| run(&kernels::PLANTED_MISSING_BARRIER, seed, LEN).unwrap().into_iter().map(f32::to_bits).collect())
        .collect();
    assert!(runs.iter().any(|values| *values != runs[0]));
    // The warp that comes first finds what nobody has written.
    assert!(runs.iter().all(|values| values.iter().any(|&bits| f32::from_bits(bits).is_nan())));
    // One seed is one order.
    let again = run(&kernels::PLANTED_MISSING_BARRIER, 3, LEN).unwrap();
    assert!(again.into_iter().map(f32::to_bits).eq(runs[3].iter().copied()));
}

#[test]
fn what_was_never_written_or_has_not_landed_is_nan() {
    for kernel in [&kernels::PLANTED_UNINITIALISED, &kernels::PLANTED_MISSING_WAIT, &kernels::PLANTED_WAIT_FOR_TOO_FEW]
    {
        let output = run(kernel, 0, LEN).unwrap();
        assert!(output.iter().all(|value| value.is_nan()), "{}: {output:?}", kernel.name());
    }
}

#[test]
fn writes_beyond_a_buffer_are_found() {
    let behind = fault(&kernels::PLANTED_WRITE_OUT_OF_BOUNDS, 33);
    assert_eq!(
        behind,
        "it wrote 0 bytes behind the end of the buffer of 132 bytes whose address is at byte 8 of its parameters"
    );
    let before = fault(&kernels::PLANTED_WRITE_BEFORE_START, 33);
    assert!(before.starts_with("it wrote 4 bytes before the start of the buffer of 132 bytes"), "{before}");
}

#[test]
fn a_read_beyond_a_buffer_gives_nan() {
    let executor = Executor::emulated(0);
    let input = executor.upload(&[1.0f32; 33]).unwrap();
    let mut output = executor.allocate(33 * size_of::<f32>()).unwrap();
    probe(&executor, &kernels::PLANTED_READ_OUT_OF_BOUNDS, &input, &mut output, 33).unwrap();
    let output: Vec<f32> = output.read().unwrap();
    assert!(output[..32].iter().all(|&value| value == 1.0) && output[32].is_nan(), "{output:?}");
}

#[test]
fn threads_that_diverge_are_named_with_their_places() {
    let barriers = fault(&kernels::PLANTED_DIVERGENT_BARRIER, LEN);
    assert!(barriers.contains("in block (0, 0, 0), threads diverge: thread 0 waits at __syncthreads"), "{barriers}");
    assert!(barriers.contains("while thread 32 waits at __syncthreads (cuda/emulator-tests/planted.cu:"), "{barriers}");
    let returned = fault(&kernels::PLANTED_EARLY_RETURN, 40);
    assert!(
        returned.contains("waits at __syncthreads") && returned.contains("while thread 40 has returned"),
        "{returned}"
    );
    let shuffle = fault(&kernels::PLANTED_DIVERGENT_SHUFFLE, LEN);
    assert!(shuffle.contains("waits for its warp") && shuffle.contains("has returned"), "{shuffle}");
}

#[test]
fn wrong_shared_memory_is_found() {
    let small = fault(&kernels::PLANTED_SHARED_TOO_SMALL, LEN);
    assert!(small.contains("the kernel uses 2048 bytes of shared memory, the launch gives 1024"), "{small}");
    let beyond = fault(&kernels::PLANTED_SHARED_OUT_OF_BOUNDS, LEN);
    assert!(beyond.contains("it wrote 0 bytes behind the end of its 1024 bytes of shared memory"), "{beyond}");
}

#[test]
fn a_misaligned_vector_is_found() {
    let misaligned = fault(&kernels::PLANTED_MISALIGNED, LEN);
    assert!(misaligned.contains("a misaligned address was used"), "{misaligned}");
}

#[test]
fn the_emulator_works_on_after_a_fault() {
    assert!(run(&kernels::PLANTED_DIVERGENT_BARRIER, 0, LEN).is_err());
    assert!(run(&kernels::PLANTED_NONE, 0, LEN).is_ok());
}
