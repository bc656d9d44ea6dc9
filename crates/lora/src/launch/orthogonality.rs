//! Launching the distance of a matrix from orthonormal: [`crate::orthogonality`](crate::orthogonality()) on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::check_buffer;
use super::kernels::LORA_ORTHOGONALITY_F32;
use super::params::{ORTHOGONALITY_SHARED_BYTES, ORTHOGONALITY_THREADS, OrthogonalityParams};
use crate::LoraError;

/// Writes the norm to `norm`, `[1]` f32. `gram`, `[rank, rank]` f32, becomes the derivative.
///
/// # Errors
/// [`LoraError::Length`], [`LoraError::Device`] for buffers of different devices and for what a launch refuses.
pub fn orthogonality(rank: usize, gram: &mut DeviceBuffer, norm: &mut DeviceBuffer) -> Result<(), LoraError> {
    check_buffer("gram", [rank, rank], DType::F32, gram)?;
    check_buffer("norm", [1, 1], DType::F32, norm)?;
    let executor = Executor::of(gram, [&*norm])?;
    let params = OrthogonalityParams { gram: gram.address(), norm: norm.address(), rank: rank as u64 };
    // Read and written twice.
    let grid = Grid::linear(1, ORTHOGONALITY_THREADS)
        .with_shared(ORTHOGONALITY_SHARED_BYTES)
        .doing(Work::over([&*gram, &*gram, &*gram, &*gram]));
    // SAFETY: the buffers were checked to be of this executor and to hold what the rank says; both are borrowed mutably.
    Ok(unsafe { executor.launch(&LORA_ORTHOGONALITY_F32, grid, &params) }?)
}
