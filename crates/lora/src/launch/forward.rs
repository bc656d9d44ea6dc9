//! Launching the forward pass.

use device::launch::{DeviceBuffer, Grid};
use gemm::launch::{MatrixMut, Sum, sums_on_hopper};

use super::kernels::{LORA_FORWARD_BF16, LORA_FORWARD_F32, LORA_PROJECT_BF16, LORA_PROJECT_F32};
use super::params::{LORA_SHARED_BYTES, LORA_THREADS, LORA_TILE};
use super::{Group, check_buffer, check_count, matrix, narrow, of_dtype};
use crate::LoraError;

/// What the forward pass of one projection writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// `[num_tokens, out_features]`
    pub y: &'a mut DeviceBuffer,
    /// `scaling drop(x) A^T`, `[num_tokens, rank]`: kept for [`Backward`](super::Backward).
    pub s: &'a mut DeviceBuffer,
}

/// Computes `y` and `s` of every projection in two launches.
///
/// # Errors
/// [`LoraError::GroupSize`], [`LoraError::GroupInput`] and [`LoraError::GroupBuffers`] for projections that do not belong
/// together, [`LoraError::Length`] for a buffer that does not have its shape, [`LoraError::KernelDType`] for f16,
/// [`LoraError::Device`] and [`LoraError::Gemm`] for buffers of different devices, no memory, and what a launch refuses.
pub fn forward(group: Group<'_>, outputs: &mut [Output<'_>]) -> Result<(), LoraError> {
    let Group { dtype, projections, .. } = group;
    group.check()?;
    check_count("y", projections.len(), outputs.len())?;
    for (projection, output) in projections.iter().zip(&*outputs) {
        check_buffer("y", projection.shape.y(), dtype, output.y)?;
        check_buffer("s", projection.shape.s(), dtype, output.s)?;
    }
    let executor = group.executor(outputs.iter().flat_map(|output| [&*output.y, &*output.s]))?.clone();
    let mut params = group.params();
    for (params, output) in params.projections.iter_mut().zip(&*outputs) {
        (params.y, params.s) = (output.y.address(), output.s.address());
    }
    let [num_tokens, in_features] = group.input();
    let products = projections.iter().zip(outputs.iter_mut()).map(|(projection, output)| narrow::Product {
        sizes: [num_tokens, projection.shape.rank(), in_features],
        alpha: projection.scaling * projection.dropout_scale(),
        result: output.s,
        dtype,
        add: false,
    });
    let tile = LORA_TILE as usize;
    let columns = projections.iter().map(|projection| projection.shape.out_features().div_ceil(tile));
    let blocks = num_tokens.div_ceil(tile).saturating_mul(columns.sum());
    let grid = Grid::covering(blocks, 1, LORA_THREADS).with_shared(LORA_SHARED_BYTES);
    let project = of_dtype(dtype, &LORA_PROJECT_F32, &LORA_PROJECT_BF16)?;
    // SAFETY: the buffers were checked to be of this executor and to hold what the shapes say; `s` is borrowed mutably.
    unsafe { narrow::launch(&executor, project, params, products.collect())? };
    if on_hopper(group, outputs)? {
        return Ok(());
    }
    // SAFETY: as above, with a block for every tile; `y` is borrowed mutably.
    Ok(unsafe { executor.launch(of_dtype(dtype, &LORA_FORWARD_F32, &LORA_FORWARD_BF16)?, grid, &params) }?)
}

/// `y = s B^T + x W^T + bias` with the kernel for Hopper; `false` where it does not fit.
fn on_hopper(group: Group<'_>, outputs: &mut [Output<'_>]) -> Result<bool, LoraError> {
    let Group { dtype, x, projections } = group;
    if projections.iter().any(|projection| projection.lora_bias.is_some()) {
        return Ok(false);
    }
    let sums = projections.iter().zip(outputs).map(|(projection, Output { y, s })| {
        let shape = projection.shape;
        let delta = (matrix(s, dtype, shape.s()), matrix(projection.lora_b, dtype, shape.b()).transposed());
        let base = (matrix(x, dtype, shape.x()), projection.weight(dtype).transposed());
        let [rows, cols] = shape.y();
        Sum { terms: vec![delta, base], bias: projection.bias, c: MatrixMut::new(y, dtype, rows, cols) }
    });
    Ok(sums_on_hopper(1.0, false, &mut sums.collect::<Vec<_>>())?)
}
