//! Launching the forward.

use device::DType;
use device::launch::{DeviceBuffer, Executor};

use super::batch::Batch;
use super::hopper::Hopper;
use super::operands::{Operands, Prefix, TokenRows, check_len};
use super::params::{ATTENTION_ROWS, AttentionForwardParams};
use crate::AttentionError;

/// Operands of [`forward()`], all on one device.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Queries `[num_q_tokens, num_heads * head_dim]`.
    pub q: TokenRows<'a>,
    /// Keys `[num_kv_tokens, num_kv_heads * head_dim]`.
    pub k: TokenRows<'a>,
    /// Values, as `k`.
    pub v: TokenRows<'a>,
    /// Prefix keys and values, where the shape has some.
    pub prefix: Option<Prefix<'a>>,
    /// Result `[num_q_tokens, num_heads * head_dim]`, without gaps. Overwritten.
    pub o: &'a mut DeviceBuffer,
    /// `ln sum_j exp(s_ij)` as `[num_heads, num_q_tokens]` f32, for the backward. Overwritten.
    pub softmax_lse: &'a mut DeviceBuffer,
}

/// Computes attention and the log-sum-exp of its scores, without memory beyond the results.
///
/// A query that sees no key gets `o = 0` and `softmax_lse = -inf`. The result of a query depends only on its own sequence
/// and the prefix, bit for bit.
///
/// # Errors
/// [`AttentionError::Length`], [`AttentionError::RowStride`] or [`AttentionError::PrefixMissing`] if an argument does not
/// fit the batch; [`AttentionError::Device`] for buffers of different devices and for what a launch refuses.
pub fn forward(batch: &Batch<'_>, args: Forward<'_>) -> Result<(), AttentionError> {
    let Forward { q, k, v, prefix, o, softmax_lse } = args;
    let (shape, variant) = (batch.shape(), batch.variant);
    let (kernel, rows, tiles) = match &batch.bias {
        None => (variant.forward, variant.forward_rows(), &batch.forward_tiles),
        Some(_) => (variant.forward_biased(shape.spec().head_dim)?, ATTENTION_ROWS, &batch.q_tiles),
    };
    let operands = Operands { q, k, v, prefix };
    let inputs = operands.resolve(batch)?;
    check_len("o", o, batch.dtype(), shape.num_q_tokens() * batch.q_row_len())?;
    check_len("softmax_lse", softmax_lse, DType::F32, shape.num_q_tokens() * shape.spec().num_heads)?;
    let executor = Executor::of(o, operands.buffers().chain([&*softmax_lse, &tiles.buffer]))?;
    let params = AttentionForwardParams {
        inputs,
        tiles: tiles.buffer.address(),
        o: o.address(),
        softmax_lse: softmax_lse.address(),
    };
    // Two products; keys and values of a fused projection count with what lies between them.
    let work = batch.work(2, operands.buffers().chain([&*o, &*softmax_lse]));
    if let Some(hopper) = Hopper::plan(executor, batch, &operands, &params)? {
        // SAFETY: as below; the maps describe operands that were checked.
        return Ok(unsafe { executor.launch(hopper.kernel, hopper.grid.doing(work), &hopper.params) }?);
    }
    let grid = variant.forward_grid(rows, tiles.count, shape.spec().num_kv_heads);
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, of which the tiles were cut;
    // `o` and `softmax_lse` are borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid.doing(work), &params) }?)
}
