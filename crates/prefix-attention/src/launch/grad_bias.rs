//! Launching the gradient of a bias.

use device::launch::{DeviceBuffer, Grid, Work};

use super::backward::Pass;
use super::bias::Expanded;
use super::kernels::ATTENTION_SUM_BIAS_F32;
use super::params::{
    ATTENTION_ELEMENT_THREADS, ATTENTION_SUM_SHARED_BYTES, AttentionGradBiasParams, AttentionSumBiasParams,
};
use crate::AttentionError;

/// Blocks that share the tiles of queries at most: they fill the multiprocessors of an H100 about twice, and each has a sum for
/// every difference of positions.
const BLOCKS: usize = 256;

impl Pass<'_> {
    /// Sums by difference of positions for each block, then by bucket. `backward` checked `grad` to be of this executor and to
    /// be as long as the table.
    pub(super) fn launch_grad_bias(&self, bias: &Expanded, grad: &mut DeviceBuffer) -> Result<(), AttentionError> {
        let (variant, spec, tiles) = (self.batch.variant, self.batch.shape().spec(), &self.batch.q_tiles);
        let kernel = variant.grad_bias(spec.head_dim)?;
        let blocks = BLOCKS.div_ceil(spec.num_kv_heads).min(tiles.count);
        let mut partials = self.executor.allocate(blocks * spec.num_kv_heads * bias.len * size_of::<f32>())?;
        partials.zero()?;
        let params = AttentionGradBiasParams {
            inputs: self.inputs,
            tiles: tiles.buffer.address(),
            grad_o: self.grad_o.address(),
            softmax_lse: self.softmax_lse.address(),
            delta: self.delta.address(),
            partials: partials.address(),
            num_tiles: tiles.count as u64,
        };
        // Scores and gradients of the probabilities.
        let work = self.batch.work(2, [&partials, &partials]) + self.read;
        let grid = variant.grad_bias_grid(blocks, spec.num_kv_heads).doing(work);
        // SAFETY: `backward` checked what is read, of which the tiles were cut; `partials` was just made for these blocks and
        // the bias that the inputs hold, whose elements the differences of visible pairs lie within.
        unsafe { self.executor.launch(kernel, grid, &params)? };

        let buckets = bias.bucket_ranges()?;
        let params = AttentionSumBiasParams {
            partials: partials.address(),
            buckets: buckets.address(),
            grad: grad.address(),
            count: blocks as u64,
            len: bias.len as u64,
            group: self.batch.shape().group() as u64,
            num_kv_heads: spec.num_kv_heads as u64,
        };
        let mut grid = Grid::linear(1, ATTENTION_ELEMENT_THREADS)
            .with_shared(ATTENTION_SUM_SHARED_BYTES)
            .doing(Work::over([&partials, &*grad]));
        // More buckets or heads than a GPU takes are refused by the launch.
        let size = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        grid.blocks = [size(bias.num_buckets()), size(spec.num_heads), 1];
        // SAFETY: the ranges were made for this bias, so that they lie within `partials`; `grad` is borrowed mutably.
        Ok(unsafe { self.executor.launch(&ATTENTION_SUM_BIAS_F32, grid, &params) }?)
    }
}
