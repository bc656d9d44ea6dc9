//! Launching the forward for Hopper.

use bytemuck::Zeroable;
use device::DType;
use device::launch::{Architecture, Executor, Grid, Kernel, TiledMatrix};

use super::batch::Batch;
use super::kernels::{ATTENTION_FORWARD_WGMMA_D64_BF16, ATTENTION_FORWARD_WGMMA_D128_BF16};
use super::operands::{Operands, TokenRows};
use super::params::{
    ATTENTION_WGMMA_BARRIER_BYTES, ATTENTION_WGMMA_CHANNEL_BYTES, ATTENTION_WGMMA_KEYS, ATTENTION_WGMMA_THREADS,
    AttentionForwardParams, AttentionTensorMap, AttentionWgmmaParams,
};
use crate::AttentionError;

/// A launch that the kernels for Hopper take.
pub(super) struct Hopper {
    pub(super) kernel: &'static Kernel<AttentionWgmmaParams>,
    pub(super) grid: Grid,
    pub(super) params: AttentionWgmmaParams,
}

impl Hopper {
    /// The launch for checked operands on `executor`: on [`Architecture::Hopper`], in bf16, of heads of 64 or 128 channels
    /// whose scores have neither bound nor bias, with every row at a multiple of 16 bytes. `None` for others.
    ///
    /// # Errors
    /// [`AttentionError::Device`] if the driver refuses to describe a matrix.
    pub(super) fn plan(
        executor: &Executor,
        batch: &Batch<'_>,
        operands: &Operands<'_>,
        forward: &AttentionForwardParams,
    ) -> Result<Option<Self>, AttentionError> {
        let (shape, spec) = (batch.shape(), batch.shape().spec());
        let kernel = match spec.head_dim {
            64 => &ATTENTION_FORWARD_WGMMA_D64_BF16,
            128 => &ATTENTION_FORWARD_WGMMA_D128_BF16,
            _ => return Ok(None),
        };
        let q_aligned = forward.inputs.q.data.is_multiple_of(16) && forward.inputs.q.stride.is_multiple_of(8);
        if executor.architecture() != Architecture::Hopper
            || batch.dtype() != DType::BF16
            || batch.bias.is_some()
            || spec.softcap.is_some()
            || !q_aligned
            || !forward.o.is_multiple_of(16)
        {
            return Ok(None);
        }
        let mut params = AttentionWgmmaParams {
            forward: *forward,
            num_tiles: batch.forward_tiles.count as u64,
            ..AttentionWgmmaParams::zeroed()
        };
        let prefix = operands.prefix.as_ref().filter(|_| shape.prefix_len() > 0);
        let matrices = [
            (Some(operands.k), shape.num_kv_tokens(), &mut params.k),
            (Some(operands.v), shape.num_kv_tokens(), &mut params.v),
            (prefix.map(|prefix| prefix.k), shape.prefix_len(), &mut params.prefix_k),
            (prefix.map(|prefix| prefix.v), shape.prefix_len(), &mut params.prefix_v),
        ];
        for (i, (rows, count, map)) in matrices.into_iter().enumerate() {
            let Some(rows) = rows else { continue };
            let Some(matrix) = tiled(&rows, count, batch.kv_row_len()) else { return Ok(None) };
            *map = AttentionTensorMap { words: executor.tensor_map(rows.buffer, matrix)? };
            params.columns[i] = rows.offset as u64;
        }
        let blocks = batch.forward_tiles.count.saturating_mul(spec.num_kv_heads);
        let shared = spec.head_dim as u32 * ATTENTION_WGMMA_CHANNEL_BYTES + ATTENTION_WGMMA_BARRIER_BYTES;
        let grid = Grid::covering(blocks, 1, ATTENTION_WGMMA_THREADS).with_shared(shared);
        let grid = Grid { blocks: [grid.blocks[0].min(executor.multiprocessors()), 1, 1], ..grid };
        Ok(Some(Self { kernel, grid, params }))
    }
}

/// The first `count` rows with all columns up to their last channel, if the accelerator can read them.
fn tiled(rows: &TokenRows<'_>, count: usize, row_len: usize) -> Option<TiledMatrix> {
    let cols = rows.offset.checked_add(row_len).filter(|&cols| cols <= rows.row_stride || count == 1)?;
    let matrix = TiledMatrix { rows: count, cols, row_stride: rows.row_stride, box_rows: ATTENTION_WGMMA_KEYS };
    matrix.is_readable(rows.buffer.address()).then_some(matrix)
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;
    use crate::{AttentionShape, AttentionSpec};

    const SPEC: AttentionSpec = AttentionSpec {
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 64,
        softmax_scale: 0.125,
        causal: true,
        window: None,
        softcap: None,
    };

    /// Whether the kernels take `spec`, with keys `offset` elements into their buffer.
    fn taken(architecture: Architecture, spec: AttentionSpec, dtype: DType, offset: usize) -> bool {
        let executor = Executor::emulated_as(architecture, 0);
        let shape = AttentionShape::new(spec, &[0, 4], &[0, 4], 0).unwrap();
        let batch = Batch::new(&executor, shape, dtype).unwrap();
        let row_stride = 2 * spec.head_dim;
        let [q, kv] = [row_stride; 2].map(|row| executor.allocate(4 * row * dtype.size_bytes()).unwrap());
        let rows = |buffer, offset| TokenRows { buffer, offset, row_stride };
        let operands = Operands { q: rows(&q, 0), k: rows(&kv, offset), v: rows(&kv, 0), prefix: None };
        let inputs = operands.resolve(&batch).unwrap();
        let forward = AttentionForwardParams { inputs, ..AttentionForwardParams::zeroed() };
        Hopper::plan(&executor, &batch, &operands, &forward).unwrap().is_some()
    }

    #[test]
    fn others_are_left_to_the_kernel_for_every_gpu() {
        let hopper = |spec, dtype, offset| taken(Architecture::Hopper, spec, dtype, offset);
        assert!(hopper(SPEC, DType::BF16, 0) && hopper(SPEC, DType::BF16, 64));
        assert!(hopper(AttentionSpec { head_dim: 128, ..SPEC }, DType::BF16, 0));
        assert!(!taken(Architecture::Ampere, SPEC, DType::BF16, 0));
        assert!(!hopper(SPEC, DType::F32, 0));
        assert!(!hopper(AttentionSpec { head_dim: 80, ..SPEC }, DType::BF16, 0));
        assert!(!hopper(AttentionSpec { softcap: Some(30.0), ..SPEC }, DType::BF16, 0));
    }
}
