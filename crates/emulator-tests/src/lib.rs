//! Tests of the emulated device by kernels with planted bugs, and of the primitives of `cuda/common` one by one.
//!
//! There is nothing here to use: the crate exists so that the kernels are no part of any other build.

#![cfg(all(test, feature = "emulator"))]

mod hopper;
mod kernels;
mod params;
mod planted;
mod primitives;

use device::DeviceError;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel};
use params::{PROBE_SHARED_BYTES, PROBE_THREADS, ProbeParams};

/// Runs one block of `kernel`.
fn probe(
    executor: &Executor,
    kernel: &'static Kernel<ProbeParams>,
    input: &DeviceBuffer,
    output: &mut DeviceBuffer,
    len: usize,
) -> Result<(), DeviceError> {
    let grid = Grid::linear(1, PROBE_THREADS).with_shared(PROBE_SHARED_BYTES);
    let params = ProbeParams { input: input.address(), output: output.address(), len: len as u64 };
    // SAFETY: both buffers are live, and as long as the kernel under test says; where a planted bug goes beyond, that is
    // within the emulator's guards.
    unsafe { executor.launch(kernel, grid, &params) }
}
