//! The sequences of one batch, cut into tiles for the blocks of a launch.

use std::cmp::Reverse;

use device::DType;
use device::launch::{DeviceBuffer, Executor, Work};

use super::bias::{Expanded, RelativeBias};
use super::params::{ATTENTION_ROWS, AttentionTile};
use super::variant::Variant;
use crate::spec::Sequence;
use crate::tile::Tile;
use crate::{AttentionError, AttentionShape};

/// The sequences of one batch on a device, for every layer with the same [`crate::AttentionSpec`]. A kernel cannot refuse a
/// sequence that reaches beyond its operands, so the starts are checked before they are copied there.
#[derive(Debug)]
pub struct Batch<'a> {
    shape: AttentionShape<'a>,
    pub(super) variant: &'static Variant,
    pub(super) bias: Option<Expanded>,
    /// Tiles of as many rows as the forward takes, of 64 rows, and of 64 keys.
    pub(super) forward_tiles: Tiles,
    pub(super) q_tiles: Tiles,
    pub(super) key_tiles: Tiles,
    /// Pairs of a query and a key that it sees, of all heads.
    pairs: usize,
}

/// `[count]` [`AttentionTile`].
#[derive(Debug)]
pub(super) struct Tiles {
    pub(super) buffer: DeviceBuffer,
    pub(super) count: usize,
}

impl<'a> Batch<'a> {
    /// Cuts the sequences into tiles for operands of `dtype`, f32 or bf16.
    ///
    /// # Errors
    /// [`AttentionError::KernelDType`], [`AttentionError::KernelHeadDim`]; [`AttentionError::TooLarge`] for a sequence or
    /// a token of more than 2^31 elements in a dimension; [`AttentionError::Device`] without memory.
    pub fn new(executor: &Executor, shape: AttentionShape<'a>, dtype: DType) -> Result<Self, AttentionError> {
        let variant = Variant::of(dtype, shape.spec().head_dim)?;
        let sequences = || (0..shape.num_sequences()).map(|index| shape.sequence(index));
        let row_len = shape.spec().num_heads * shape.spec().head_dim;
        // Kernels count rows, channels and keys in 32 bits, up to the end of the last tile.
        let longest = sequences().map(|s| (s.q_len * shape.group()).max(s.kv_len)).max().unwrap_or(0);
        let num_tokens = longest.max(shape.prefix_len());
        if num_tokens.max(row_len) > i32::MAX as usize {
            return Err(AttentionError::TooLarge { num_tokens, row_len });
        }
        let q_tiles = |rows: u32| {
            let mut tiles = Vec::new();
            for sequence in sequences() {
                let len = sequence.q_len * shape.group();
                for first_row in (0..len).step_by(rows as usize) {
                    let tile = Tile { sequence, kv_head: 0, first_row, rows: (len - first_row).min(rows as usize) };
                    tiles.push((tile.visible(&shape).len(), tile_of(sequence, first_row)));
                }
            }
            tiles
        };
        let mut key_tiles = Vec::new();
        for sequence in sequences() {
            for first in (0..sequence.kv_len).step_by(ATTENTION_ROWS as usize) {
                // Under a causal mask, the queries that stand behind.
                let seen_by = if shape.spec().causal { sequence.kv_len - first } else { sequence.q_len };
                key_tiles.push((seen_by, tile_of(sequence, first)));
            }
        }
        Ok(Self {
            shape,
            variant,
            bias: None,
            forward_tiles: Tiles::new(executor, q_tiles(variant.forward_rows()))?,
            q_tiles: Tiles::new(executor, q_tiles(ATTENTION_ROWS))?,
            key_tiles: Tiles::new(executor, key_tiles)?,
            pairs: shape.spec().num_heads * sequences().map(|sequence| visible_pairs(&shape, sequence)).sum::<usize>(),
        })
    }

    /// Adds `bias` to the scores of every call.
    ///
    /// # Errors
    /// [`AttentionError::BiasWithSoftcap`]; [`AttentionError::KernelHeadDim`] for heads of more than 128 channels;
    /// [`AttentionError::Length`] for a table that does not fit; [`AttentionError::Device`] without memory, for a table on
    /// another device, and for what a launch refuses.
    pub fn with_bias(self, bias: RelativeBias<'_>) -> Result<Self, AttentionError> {
        self.variant.forward_biased(self.shape.spec().head_dim)?;
        Executor::of(bias.table, [&self.q_tiles.buffer])?;
        let bias = Some(Expanded::new(&self.shape, bias)?);
        Ok(Self { bias, ..self })
    }

    /// What it was made from.
    pub fn shape(&self) -> &AttentionShape<'a> {
        &self.shape
    }

    /// Of the operands.
    pub fn dtype(&self) -> DType {
        self.variant.dtype
    }

    /// The work of `products` products over the channels for each visible pair, reading or writing `buffers`.
    pub(super) fn work<'b>(&self, products: u64, buffers: impl IntoIterator<Item = &'b DeviceBuffer>) -> Work {
        let each = Work::product([self.pairs, 1, self.shape.spec().head_dim]);
        Work { flops: each.flops.saturating_mul(products), bytes: 0 } + Work::over(buffers)
    }

    /// Elements of a token's queries.
    pub(super) fn q_row_len(&self) -> usize {
        self.shape.spec().num_heads * self.shape.spec().head_dim
    }

    /// Elements of a token's keys.
    pub(super) fn kv_row_len(&self) -> usize {
        self.shape.spec().num_kv_heads * self.shape.spec().head_dim
    }
}

impl Tiles {
    /// With the most work first, so that no block is left alone at the end.
    fn new(executor: &Executor, mut tiles: Vec<(usize, AttentionTile)>) -> Result<Self, AttentionError> {
        tiles.sort_by_key(|&(work, _)| Reverse(work));
        let tiles: Vec<_> = tiles.into_iter().map(|(_, tile)| tile).collect();
        Ok(Self { buffer: executor.constant(&tiles)?, count: tiles.len() })
    }
}

/// The starts were given in 32 bits, and so are these.
fn tile_of(sequence: Sequence, first: usize) -> AttentionTile {
    let [q_start, q_len, kv_start, kv_len, first] =
        [sequence.q_start, sequence.q_len, sequence.kv_start, sequence.kv_len, first].map(|value| value as u32);
    AttentionTile { q_start, q_len, kv_start, kv_len, first }
}

/// Keys that the queries of one head see, the prefix included.
fn visible_pairs(shape: &AttentionShape<'_>, sequence: Sequence) -> usize {
    let rows = sequence.q_len * shape.group();
    let tile = Tile { sequence, kv_head: 0, first_row: 0, rows };
    let own = (0..sequence.q_len).map(|query| tile.visible_to(shape, query * shape.group()).len());
    own.sum::<usize>() + sequence.q_len * shape.prefix_len()
}
