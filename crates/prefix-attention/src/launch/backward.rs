//! Launching the backward.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::batch::Batch;
use super::kernels::ATTENTION_SUM_PREFIX_F32;
use super::operands::{Operands, Prefix, TokenRows, check_len};
use super::params::{
    ATTENTION_ELEMENT_THREADS, ATTENTION_ROWS, AttentionDeltaParams, AttentionGradKvParams, AttentionGradQParams,
    AttentionInputs, AttentionSumParams,
};
use crate::AttentionError;

/// Blocks that the gradients of the prefix are cut into at least, if there are queries enough: they fill the multiprocessors
/// of an H100 about twice.
const PREFIX_BLOCKS: usize = 256;
/// Tiles of queries that such a block takes at least, so that its sum is small beside its work.
const MIN_CHUNK_TILES: usize = 8;

/// Gradients of keys and values, without gaps. Overwritten.
#[derive(Debug)]
pub struct GradKeyValue<'a> {
    /// Of the keys.
    pub k: &'a mut DeviceBuffer,
    /// Of the values.
    pub v: &'a mut DeviceBuffer,
}

/// Operands of [`backward()`], all on one device. A gradient that is `None` is not computed, and the work only it needs is
/// left out.
#[derive(Debug)]
pub struct Backward<'a> {
    /// As in [`super::Forward`].
    pub q: TokenRows<'a>,
    /// As in [`super::Forward`].
    pub k: TokenRows<'a>,
    /// As in [`super::Forward`].
    pub v: TokenRows<'a>,
    /// As in [`super::Forward`].
    pub prefix: Option<Prefix<'a>>,
    /// What [`super::forward()`] wrote.
    pub o: &'a DeviceBuffer,
    /// What [`super::forward()`] wrote.
    pub softmax_lse: &'a DeviceBuffer,
    /// Gradient of `o`, without gaps.
    pub grad_o: &'a DeviceBuffer,
    /// Gradient of `q`, `[num_q_tokens, num_heads * head_dim]` without gaps. Overwritten.
    pub grad_q: Option<&'a mut DeviceBuffer>,
    /// Gradients of `k` and `v`, `[num_kv_tokens, num_kv_heads * head_dim]`.
    pub grad_kv: Option<GradKeyValue<'a>>,
    /// Gradients of the prefix, `[prefix_len, num_kv_heads * head_dim]` f32, summed over all queries in a fixed order.
    pub grad_prefix: Option<GradKeyValue<'a>>,
    /// Gradient of the bias of the batch, `[num_buckets, num_heads]` f32, summed over all pairs in a fixed order. Overwritten.
    pub grad_bias: Option<&'a mut DeviceBuffer>,
}

/// What all kernels of one backward read.
pub(super) struct Pass<'a> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) executor: &'a Executor,
    pub(super) inputs: AttentionInputs,
    pub(super) grad_o: &'a DeviceBuffer,
    pub(super) softmax_lse: &'a DeviceBuffer,
    /// `[num_heads, num_q_tokens]` f32: `rowsum(o * grad_o)`.
    pub(super) delta: DeviceBuffer,
    /// What the gradients' kernels read.
    pub(super) read: Work,
}

/// Computes the gradients that are asked for, the same bits in every run. Memory beyond them: a number for each query and
/// head, for the prefix some 256 tiles of 64 keys, and for a bias some 256 sums for every difference of positions.
///
/// Queries that see no key, and keys that no query sees, get gradients of 0.
///
/// # Errors
/// As [`super::forward()`]; also [`AttentionError::Device`] without memory.
pub fn backward(batch: &Batch<'_>, args: Backward<'_>) -> Result<(), AttentionError> {
    let Backward { q, k, v, prefix, o, softmax_lse, grad_o, grad_q, grad_kv, grad_prefix, grad_bias } = args;
    let (shape, dtype) = (batch.shape(), batch.dtype());
    let operands = Operands { q, k, v, prefix };
    let inputs = operands.resolve(batch)?;
    let (q_count, statistics) =
        (shape.num_q_tokens() * batch.q_row_len(), shape.num_q_tokens() * shape.spec().num_heads);
    check_len("o", o, dtype, q_count)?;
    check_len("softmax_lse", softmax_lse, DType::F32, statistics)?;
    check_len("grad_o", grad_o, dtype, q_count)?;
    if let Some(grad_q) = &grad_q {
        check_len("grad_q", grad_q, dtype, q_count)?;
    }
    if let Some(grad) = &grad_kv {
        check_len("grad_kv.k", grad.k, dtype, shape.num_kv_tokens() * batch.kv_row_len())?;
        check_len("grad_kv.v", grad.v, dtype, shape.num_kv_tokens() * batch.kv_row_len())?;
    }
    if let Some(grad) = &grad_prefix {
        check_len("grad_prefix.k", grad.k, DType::F32, shape.prefix_len() * batch.kv_row_len())?;
        check_len("grad_prefix.v", grad.v, DType::F32, shape.prefix_len() * batch.kv_row_len())?;
    }
    if let Some(grad) = &grad_bias {
        let expected = batch.bias.as_ref().map_or(0, |bias| bias.num_buckets() * shape.spec().num_heads);
        check_len("grad_bias", grad, DType::F32, expected)?;
    }
    let key_values = grad_kv.iter().chain(&grad_prefix).flat_map(|grad| [&*grad.k, &*grad.v]);
    let written = grad_q.as_deref().into_iter().chain(key_values).chain(grad_bias.as_deref());
    let read = operands.buffers().chain([softmax_lse, grad_o, &batch.q_tiles.buffer]);
    let executor = Executor::of(o, read.chain(written))?;
    if grad_q.is_none() && grad_kv.is_none() && grad_prefix.is_none() && grad_bias.is_none() {
        return Ok(());
    }

    let delta = executor.allocate(statistics * size_of::<f32>())?;
    let read = Work::over(operands.buffers().chain([grad_o, softmax_lse, &delta]));
    let pass = Pass { batch, executor, inputs, grad_o, softmax_lse, delta, read };
    pass.launch_delta(o)?;
    if let Some(grad_q) = grad_q {
        pass.launch_grad_q(grad_q)?;
    }
    if let (Some(grad), Some(bias)) = (grad_bias, &batch.bias) {
        pass.launch_grad_bias(bias, grad)?;
    }
    pass.launch_grad_kv(grad_kv, grad_prefix)
}

impl Pass<'_> {
    fn launch_delta(&self, o: &DeviceBuffer) -> Result<(), AttentionError> {
        let shape = self.batch.shape();
        let params = AttentionDeltaParams {
            o: o.address(),
            grad_o: self.grad_o.address(),
            delta: self.delta.address(),
            num_q_tokens: shape.num_q_tokens() as u64,
            num_heads: shape.spec().num_heads as u64,
            head_dim: shape.spec().head_dim as u64,
        };
        let rows = shape.num_q_tokens() * shape.spec().num_heads;
        let grid = Grid::covering(rows, ATTENTION_ELEMENT_THREADS / Grid::WARP, ATTENTION_ELEMENT_THREADS)
            .doing(Work::over([o, self.grad_o, &self.delta]));
        // SAFETY: `backward` checked `o` and `grad_o` to be of this executor and to hold a row for each query and head, and
        // made `delta` for as many.
        Ok(unsafe { self.executor.launch(self.batch.variant.delta, grid, &params) }?)
    }

    fn launch_grad_q(&self, grad_q: &mut DeviceBuffer) -> Result<(), AttentionError> {
        let (variant, tiles) = (self.batch.variant, &self.batch.q_tiles);
        let params = AttentionGradQParams {
            inputs: self.inputs,
            tiles: tiles.buffer.address(),
            grad_o: self.grad_o.address(),
            softmax_lse: self.softmax_lse.address(),
            delta: self.delta.address(),
            grad_q: grad_q.address(),
        };
        // Scores, gradients of the probabilities, and the queries'.
        let work = self.batch.work(3, [&*grad_q]) + self.read;
        let grid = variant.grad_q_grid(tiles.count, self.batch.shape().spec().num_kv_heads).doing(work);
        // SAFETY: `backward` checked the buffers to be of this executor and to hold what the shape says, of which the tiles
        // were cut; `grad_q` is borrowed mutably.
        Ok(unsafe { self.executor.launch(variant.grad_q, grid, &params) }?)
    }

    fn launch_grad_kv(
        &self,
        own: Option<GradKeyValue<'_>>,
        prefix: Option<GradKeyValue<'_>>,
    ) -> Result<(), AttentionError> {
        let (batch, variant, shape) = (self.batch, self.batch.variant, self.batch.shape());
        let (q_tiles, key_tiles) = (&batch.q_tiles, &batch.key_tiles);
        let prefix_tiles = if prefix.is_some() { shape.prefix_len().div_ceil(ATTENTION_ROWS as usize) } else { 0 };
        let chunks = PREFIX_BLOCKS.div_ceil(shape.spec().num_kv_heads * prefix_tiles.max(1));
        let chunk_tiles = q_tiles.count.div_ceil(chunks).max(MIN_CHUNK_TILES);
        let chunks = q_tiles.count.div_ceil(chunk_tiles);
        let sum_len = shape.prefix_len() * batch.kv_row_len();
        let partials = if prefix.is_some() { 2 * chunks * sum_len * size_of::<f32>() } else { 0 };
        let partials = self.executor.allocate(partials)?;
        let num_key_tiles = if own.is_some() { key_tiles.count } else { 0 };
        let written = own.iter().flat_map(|grad| [&*grad.k, &*grad.v]).chain([&partials]);
        // Scores, gradients of the probabilities, and the keys' and values'.
        let work = batch.work(4, written) + self.read;
        let (grad_k, grad_v) = own.map_or((0, 0), |grad| (grad.k.address(), grad.v.address()));
        // More tiles than 32 bits count are refused by the launch.
        let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let params = AttentionGradKvParams {
            inputs: self.inputs,
            key_tiles: key_tiles.buffer.address(),
            q_tiles: q_tiles.buffer.address(),
            grad_o: self.grad_o.address(),
            softmax_lse: self.softmax_lse.address(),
            delta: self.delta.address(),
            grad_k,
            grad_v,
            prefix_partials: partials.address(),
            num_key_tiles: size(num_key_tiles),
            num_q_tiles: size(q_tiles.count),
            chunk_tiles: chunk_tiles as u64,
        };
        let blocks = num_key_tiles + prefix_tiles * chunks;
        let grid = variant.grad_kv_grid(blocks, shape.spec().num_kv_heads).doing(work);
        // SAFETY: as for `grad_q`; the gradients are borrowed mutably, and a block that writes one is launched only if it is
        // there. `partials` was just made for these chunks.
        unsafe { self.executor.launch(variant.grad_kv, grid, &params)? };
        let Some(grad) = prefix else { return Ok(()) };
        let params = AttentionSumParams {
            partials: partials.address(),
            grad_k: grad.k.address(),
            grad_v: grad.v.address(),
            count: chunks as u64,
            len: sum_len as u64,
        };
        let grid = Grid::covering(sum_len, ATTENTION_ELEMENT_THREADS, ATTENTION_ELEMENT_THREADS)
            .doing(Work::over([&partials, &*grad.k, &*grad.v]));
        // SAFETY: as above.
        Ok(unsafe { self.executor.launch(&ATTENTION_SUM_PREFIX_F32, grid, &params) }?)
    }
}
