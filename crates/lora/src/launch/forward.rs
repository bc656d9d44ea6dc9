//! Launching the forward pass.

use device::launch::{DeviceBuffer, Grid, Work};
use gemm::launch::{MatrixMut, Sum, sums_on_hopper};
use nf4::launch::{LowRank, Matvec, NF4_MATVEC_TOKENS, matvec};

use super::kernels::{
    LORA_FORWARD_BF16, LORA_FORWARD_F32, LORA_FORWARD_NF4_BF16, LORA_FORWARD_NF4_F32, LORA_PROJECT_BF16,
    LORA_PROJECT_F32,
};
use super::params::{LORA_NF4_SHARED_BYTES, LORA_SHARED_BYTES, LORA_THREADS, LORA_TILE};
use super::weight::Dequantized;
use super::{Group, Weight, check_buffer, check_count, matrix, narrow, of_dtype};
use crate::{LoraError, LoraShape};

/// What the forward pass of one projection writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// `[num_tokens, out_features]`
    pub y: &'a mut DeviceBuffer,
    /// `scaling drop(x) A^T`, `[num_tokens, rank]`: kept for [`Backward`](super::Backward).
    pub s: &'a mut DeviceBuffer,
}

/// Computes `y` and `s` of every projection in two launches; a few tokens with quantized weights take one more for each.
///
/// # Errors
/// [`LoraError::GroupSize`], [`LoraError::GroupInput`], [`LoraError::GroupLayout`] and [`LoraError::GroupBuffers`] for projections
/// that do not belong together, [`LoraError::Length`] and [`LoraError::WeightShape`] for an operand that does not have its shape,
/// [`LoraError::KernelDType`] for f16, [`LoraError::Device`], [`LoraError::Gemm`] and [`LoraError::Nf4`] for buffers of different devices, no memory, and what a launch refuses.
pub fn forward(group: Group<'_>, outputs: &mut [Output<'_>]) -> Result<(), LoraError> {
    group.check()?;
    let weights = Dequantized::of(&group)?;
    let projections = &weights.projections(&group)[..];
    let group = Group { projections, ..group };
    let dtype = group.dtype;
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
    let work =
        group.work(LoraShape::out_features) + Work::over(outputs.iter().flat_map(|output| [&*output.y, &*output.s]));
    let [num_tokens, in_features] = group.input();
    let products = projections.iter().zip(outputs.iter_mut()).map(|(projection, output)| narrow::Product {
        sizes: [num_tokens, projection.shape.rank(), in_features],
        alpha: projection.scaling * projection.dropout_scale(),
        result: output.s,
        dtype,
        add: false,
    });
    let project = of_dtype(dtype, &LORA_PROJECT_F32, &LORA_PROJECT_BF16)?;
    // SAFETY: the buffers were checked to be of this executor and to hold what the shapes say; `s` is borrowed mutably.
    unsafe { narrow::launch(&executor, project, dtype, params, products.collect())? };
    if streamed(group, outputs)? || on_hopper(group, outputs)? {
        return Ok(());
    }
    let (f32, bf16, shared) = match group.is_quantized() {
        true => (&LORA_FORWARD_NF4_F32, &LORA_FORWARD_NF4_BF16, LORA_NF4_SHARED_BYTES),
        false => (&LORA_FORWARD_F32, &LORA_FORWARD_BF16, LORA_SHARED_BYTES),
    };
    let tile = LORA_TILE as usize;
    let columns = projections.iter().map(|projection| projection.shape.out_features().div_ceil(tile));
    let blocks = num_tokens.div_ceil(tile).saturating_mul(columns.sum());
    let grid = Grid::covering(blocks, 1, LORA_THREADS).with_shared(shared).doing(work);
    // SAFETY: as above, with a block for every tile; `y` is borrowed mutably.
    Ok(unsafe { executor.launch(of_dtype(dtype, f32, bf16)?, grid, &params) }?)
}

/// `y = x W^T + s B^T + bias` for a few tokens, if all weights are quantized; `false` otherwise.
fn streamed(group: Group<'_>, outputs: &mut [Output<'_>]) -> Result<bool, LoraError> {
    let ([num_tokens, _], dtype) = (group.input(), group.dtype);
    let weights = group.projections.iter().map(|projection| match (projection.weight, projection.lora_bias) {
        (Weight::Nf4(weight), None) => Some(weight),
        _ => None,
    });
    let Some(weights) = weights.collect::<Option<Vec<_>>>().filter(|_| num_tokens <= NF4_MATVEC_TOKENS as usize) else {
        return Ok(false);
    };
    for ((projection, weight), Output { y, s }) in group.projections.iter().zip(weights).zip(outputs) {
        let low_rank = Some(LowRank { s, lora_b: projection.lora_b, rank: projection.shape.rank() });
        matvec(Matvec { dtype, num_tokens, x: group.x, weight, low_rank, bias: projection.bias, y })?;
    }
    Ok(true)
}

/// `y = s B^T + x W^T + bias` with the kernel for Hopper; `false` where it does not fit.
fn on_hopper(group: Group<'_>, outputs: &mut [Output<'_>]) -> Result<bool, LoraError> {
    let Group { dtype, x, projections } = group;
    let weights =
        projections.iter().map(|projection| projection.matrix(dtype).filter(|_| projection.lora_bias.is_none()));
    let Some(weights) = weights.collect::<Option<Vec<_>>>() else { return Ok(false) };
    let sums = projections.iter().zip(weights).zip(outputs).map(|((projection, weight), Output { y, s })| {
        let shape = projection.shape;
        let delta = (matrix(s, dtype, shape.s()), matrix(projection.lora_b, dtype, shape.b()).transposed());
        let base = (matrix(x, dtype, shape.x()), weight.transposed());
        let [rows, cols] = shape.y();
        Sum { terms: vec![delta, base], bias: projection.bias, scale: None, c: MatrixMut::new(y, dtype, rows, cols) }
    });
    Ok(sums_on_hopper(1.0, false, &mut sums.collect::<Vec<_>>())?)
}
