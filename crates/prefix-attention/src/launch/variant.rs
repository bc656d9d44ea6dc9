//! The kernels for one element type and length of head, and what a block of each takes.

use device::DType;
use device::launch::{Grid, Kernel};

use super::kernels;
use super::params::{
    ATTENTION_MAX_BIASED_HEAD_DIM, ATTENTION_MAX_HEAD_DIM, ATTENTION_ROWS, ATTENTION_TALL_ROWS, ATTENTION_THREADS,
    AttentionDeltaParams, AttentionForwardParams, AttentionGradBiasParams, AttentionGradKvParams, AttentionGradQParams,
};
use crate::AttentionError;

/// Kernels whose tiles have the same type and number of channels.
#[derive(Debug)]
pub(super) struct Variant {
    /// Of the operands.
    pub(super) dtype: DType,
    /// Channels of a tile's row.
    channels: u32,
    pub(super) forward: &'static Kernel<AttentionForwardParams>,
    /// With a bias, where registers are left for one: tiles of 64 rows.
    forward_biased: Option<&'static Kernel<AttentionForwardParams>>,
    pub(super) delta: &'static Kernel<AttentionDeltaParams>,
    pub(super) grad_q: &'static Kernel<AttentionGradQParams>,
    pub(super) grad_kv: &'static Kernel<AttentionGradKvParams>,
    /// Of a bias, where there is one.
    grad_bias: Option<&'static Kernel<AttentionGradBiasParams>>,
}

static VARIANTS: [Variant; 6] = [
    Variant {
        dtype: DType::F32,
        channels: 64,
        forward: &kernels::ATTENTION_FORWARD_D64_F32,
        forward_biased: Some(&kernels::ATTENTION_FORWARD_D64_F32),
        delta: &kernels::ATTENTION_DELTA_F32,
        grad_q: &kernels::ATTENTION_GRAD_Q_D64_F32,
        grad_kv: &kernels::ATTENTION_GRAD_KV_D64_F32,
        grad_bias: Some(&kernels::ATTENTION_GRAD_BIAS_D64_F32),
    },
    Variant {
        dtype: DType::F32,
        channels: 128,
        forward: &kernels::ATTENTION_FORWARD_D128_F32,
        forward_biased: Some(&kernels::ATTENTION_FORWARD_D128_F32),
        delta: &kernels::ATTENTION_DELTA_F32,
        grad_q: &kernels::ATTENTION_GRAD_Q_D128_F32,
        grad_kv: &kernels::ATTENTION_GRAD_KV_D128_F32,
        grad_bias: Some(&kernels::ATTENTION_GRAD_BIAS_D128_F32),
    },
    Variant {
        dtype: DType::F32,
        channels: 256,
        forward: &kernels::ATTENTION_FORWARD_D256_F32,
        forward_biased: None,
        delta: &kernels::ATTENTION_DELTA_F32,
        grad_q: &kernels::ATTENTION_GRAD_Q_D256_F32,
        grad_kv: &kernels::ATTENTION_GRAD_KV_D256_F32,
        grad_bias: None,
    },
    Variant {
        dtype: DType::BF16,
        channels: 64,
        forward: &kernels::ATTENTION_FORWARD_D64_BF16,
        forward_biased: Some(&kernels::ATTENTION_FORWARD_BIASED_D64_BF16),
        delta: &kernels::ATTENTION_DELTA_BF16,
        grad_q: &kernels::ATTENTION_GRAD_Q_D64_BF16,
        grad_kv: &kernels::ATTENTION_GRAD_KV_D64_BF16,
        grad_bias: Some(&kernels::ATTENTION_GRAD_BIAS_D64_BF16),
    },
    Variant {
        dtype: DType::BF16,
        channels: 128,
        forward: &kernels::ATTENTION_FORWARD_D128_BF16,
        forward_biased: Some(&kernels::ATTENTION_FORWARD_BIASED_D128_BF16),
        delta: &kernels::ATTENTION_DELTA_BF16,
        grad_q: &kernels::ATTENTION_GRAD_Q_D128_BF16,
        grad_kv: &kernels::ATTENTION_GRAD_KV_D128_BF16,
        grad_bias: Some(&kernels::ATTENTION_GRAD_BIAS_D128_BF16),
    },
    Variant {
        dtype: DType::BF16,
        channels: 256,
        forward: &kernels::ATTENTION_FORWARD_D256_BF16,
        forward_biased: None,
        delta: &kernels::ATTENTION_DELTA_BF16,
        grad_q: &kernels::ATTENTION_GRAD_Q_D256_BF16,
        grad_kv: &kernels::ATTENTION_GRAD_KV_D256_BF16,
        grad_bias: None,
    },
];

impl Variant {
    /// The smallest that holds a head.
    pub(super) fn of(dtype: DType, head_dim: usize) -> Result<&'static Self, AttentionError> {
        if dtype == DType::F16 {
            return Err(AttentionError::KernelDType { got: dtype });
        }
        let mut fitting = VARIANTS.iter().filter(|v| v.dtype == dtype && head_dim <= v.channels as usize);
        fitting.next().ok_or(AttentionError::KernelHeadDim { head_dim, max: ATTENTION_MAX_HEAD_DIM })
    }

    /// Rows of a tile in the forward.
    pub(super) fn forward_rows(&self) -> u32 {
        if self.dtype == DType::BF16 && self.channels <= 128 { ATTENTION_TALL_ROWS } else { ATTENTION_ROWS }
    }

    /// The forward with a bias.
    pub(super) fn forward_biased(
        &self,
        head_dim: usize,
    ) -> Result<&'static Kernel<AttentionForwardParams>, AttentionError> {
        self.forward_biased.ok_or(AttentionError::KernelHeadDim { head_dim, max: ATTENTION_MAX_BIASED_HEAD_DIM })
    }

    /// The gradient of a bias.
    pub(super) fn grad_bias(
        &self,
        head_dim: usize,
    ) -> Result<&'static Kernel<AttentionGradBiasParams>, AttentionError> {
        self.grad_bias.ok_or(AttentionError::KernelHeadDim { head_dim, max: ATTENTION_MAX_BIASED_HEAD_DIM })
    }

    /// `KEY_COLUMNS` of `scores.cuh`.
    fn key_columns(&self) -> u32 {
        match (self.dtype, self.channels) {
            (DType::BF16, _) => 64,
            (_, 256) => 16,
            _ => 32,
        }
    }

    /// `QUERY_COLUMNS` of `scores.cuh`.
    fn query_columns(&self) -> u32 {
        match (self.dtype, self.channels) {
            (DType::BF16, 64) => 64,
            (DType::F32, 256) => 16,
            _ => 32,
        }
    }

    /// Shared memory of `rows` rows of tiles, each with 16 bytes of padding.
    fn rows_bytes(&self, rows: u32) -> u32 {
        rows * (self.channels * self.dtype.size_bytes() as u32 + 16)
    }

    /// A block for each tile of `rows` rows and head: tiles of queries, keys and values.
    pub(super) fn forward_grid(&self, rows: u32, tiles: usize, heads: usize) -> Grid {
        grid(tiles, heads).with_shared(self.rows_bytes(rows + 2 * self.key_columns()))
    }

    /// Likewise with a tile of gradients of the result.
    pub(super) fn grad_q_grid(&self, tiles: usize, heads: usize) -> Grid {
        grid(tiles, heads).with_shared(self.rows_bytes(2 * ATTENTION_ROWS + 2 * self.key_columns()))
    }

    /// Likewise with the gradients of the scores, in f32, with one column of padding. `blocks` share the tiles.
    pub(super) fn grad_bias_grid(&self, blocks: usize, heads: usize) -> Grid {
        let gradients = ATTENTION_ROWS * (self.key_columns() + 1) * size_of::<f32>() as u32;
        grid(blocks, heads).with_shared(self.rows_bytes(2 * ATTENTION_ROWS + 2 * self.key_columns()) + gradients)
    }

    /// Tiles as above, 24 bytes about each query and the place that the block has come to. The sums of long
    /// heads take two blocks.
    pub(super) fn grad_kv_grid(&self, tiles: usize, heads: usize) -> Grid {
        const PLACE_BYTES: u32 = 48;
        let mut grid = grid(tiles, heads);
        grid.blocks[2] = if self.channels == 256 { 2 } else { 1 };
        let rows_bytes = self.rows_bytes(2 * ATTENTION_ROWS + 2 * self.query_columns());
        grid.with_shared(rows_bytes + 24 * self.query_columns() + PLACE_BYTES)
    }
}

/// More blocks than a GPU takes are refused by the launch.
fn grid(tiles: usize, heads: usize) -> Grid {
    let [tiles, heads] = [tiles, heads].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Grid { blocks: [tiles, heads, 1], ..Grid::linear(1, ATTENTION_THREADS) }
}
