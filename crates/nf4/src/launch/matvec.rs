//! Launching products of a few tokens.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{NF4_MATVEC_BF16, NF4_MATVEC_F32};
use super::params::{NF4_CODEBOOK_BYTES, NF4_MATVEC_ROWS, NF4_MATVEC_THREADS, NF4_MATVEC_TOKENS, Nf4MatvecParams};
use super::{Matrix, check_matrix, of_dtype};
use crate::{CODEBOOK, Nf4Error};

/// Operands of [`matvec()`], all on one device.
#[derive(Debug)]
pub struct Matvec<'a> {
    /// Of `x`, `y` and everything else dense: f32 or bf16.
    pub dtype: DType,
    /// Rows of `x` and `y`, at most [`NF4_MATVEC_TOKENS`].
    pub num_tokens: usize,
    /// `[num_tokens, in_features]`
    pub x: &'a DeviceBuffer,
    /// `W`, `[out_features, in_features]`
    pub weight: Matrix<'a>,
    /// A second product of small depth.
    pub low_rank: Option<LowRank<'a>>,
    /// `[out_features]`
    pub bias: Option<&'a DeviceBuffer>,
    /// `[num_tokens, out_features]`. Overwritten.
    pub y: &'a mut DeviceBuffer,
}

/// `s B^T`, what an adapter adds.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// `[num_tokens, rank]`
    pub s: &'a DeviceBuffer,
    /// `[out_features, rank]`
    pub lora_b: &'a DeviceBuffer,
    /// Columns of both.
    pub rank: usize,
}

/// `y = x W^T + s B^T + bias` for one to eight tokens.
///
/// # Errors
/// [`Nf4Error::TooLarge`], [`Nf4Error::BufferLength`], [`Nf4Error::KernelDType`]; [`Nf4Error::Device`] for buffers of different devices
/// and for what a launch refuses.
///
/// # Panics
/// If there are more tokens.
pub fn matvec(args: Matvec<'_>) -> Result<(), Nf4Error> {
    let Matvec { dtype, num_tokens, x, weight, low_rank, bias, y } = args;
    assert!(num_tokens <= NF4_MATVEC_TOKENS as usize, "matvec: {num_tokens} tokens");
    let kernel = of_dtype(dtype, &NF4_MATVEC_F32, &NF4_MATVEC_BF16)?;
    let [out_features, in_features] = weight.check_product(num_tokens)?;
    check_matrix("x", x, dtype, [num_tokens, in_features])?;
    check_matrix("y", y, dtype, [num_tokens, out_features])?;
    if let Some(LowRank { s, lora_b, rank }) = low_rank {
        check_matrix("s", s, dtype, [num_tokens, rank])?;
        check_matrix("lora_b", lora_b, dtype, [out_features, rank])?;
    }
    if let Some(bias) = bias {
        check_matrix("bias", bias, dtype, [1, out_features])?;
    }
    let dense = [&*y].into_iter().chain(bias).chain(low_rank.iter().flat_map(|added| [added.s, added.lora_b]));
    let executor = Executor::of(x, dense.chain(weight.buffers()))?;
    let params = Nf4MatvecParams {
        weight: weight.params(),
        x: x.address(),
        s: low_rank.map_or(0, |added| added.s.address()),
        lora_b: low_rank.map_or(0, |added| added.lora_b.address()),
        bias: bias.map_or(0, DeviceBuffer::address),
        y: y.address(),
        num_tokens: num_tokens as u64,
        in_features: in_features as u64,
        out_features: out_features as u64,
        rank: low_rank.map_or(0, |added| added.rank as u64),
        codebook: CODEBOOK,
    };
    let rows = if num_tokens == 0 { 0 } else { out_features };
    let grid = Grid::covering(rows, NF4_MATVEC_ROWS, NF4_MATVEC_THREADS)
        .with_shared(NF4_CODEBOOK_BYTES)
        .doing(Work::product([num_tokens, out_features, in_features]) + Work::over(weight.buffers().chain([x, &*y])));
    // SAFETY: the buffers were checked to be of this executor and to hold what the sizes say, with a warp for each two rows;
    // `y` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
