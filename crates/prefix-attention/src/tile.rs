//! A tile of queries: which rows it has, which keys they see, and how they get into and out of the working set.
//!
//! The query heads that share a key/value head are stacked: row `r` of a sequence is query `r / group` of head
//! `r % group` within the group. So a key is read once for all of them.

use std::ops::Range;

use crate::blocks::KeyBlock;
use crate::isa::{InstructionSet, MAX_LANES, prefetch};
use crate::spec::Sequence;
use crate::transpose::Transpose;
use crate::{AttentionShape, TokenRows};

/// Rows of a tile: four of the widest registers.
pub(crate) const ROWS: usize = 64;
/// Keys of a block. Blocks start at multiples of it, counted from the sequence's first key, whatever the tile: so the
/// result of a query depends on nothing but its own sequence.
pub(crate) const KEYS: usize = 64;
/// Elements of the states of tiles that stay in the second cache: more than half of a small one.
pub(crate) const STATES: usize = (640 << 10) / size_of::<f32>();
/// Keys that lie this many elements apart, or more, compete for a few sets of the first cache, and each takes an entry of
/// the TLB: it pays to copy them together.
const FAR: usize = 512;

/// Consecutive rows of one sequence and one key/value head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) sequence: Sequence,
    pub(crate) kv_head: usize,
    pub(crate) first_row: usize,
    /// At most [`ROWS`].
    pub(crate) rows: usize,
}

impl Tile {
    /// Columns of a score block: the rows, rounded up to whole registers.
    pub(crate) fn width(&self) -> usize {
        self.rows.next_multiple_of(MAX_LANES)
    }

    /// Token and head of row `row` of the tile.
    #[inline]
    pub(crate) fn token_and_head(&self, shape: &AttentionShape<'_>, row: usize) -> (usize, usize) {
        let (row, group) = (self.first_row + row, shape.group());
        (self.sequence.q_start + row / group, self.kv_head * group + row % group)
    }

    /// Keys of its own sequence that row `row` of the tile sees. Both ends ascend with the row.
    pub(crate) fn visible_to(&self, shape: &AttentionShape<'_>, row: usize) -> Range<usize> {
        let Sequence { q_len, kv_len, .. } = self.sequence;
        let spec = shape.spec();
        if !spec.causal {
            return 0..kv_len;
        }
        // Positions up to and including its own, counted from the last token; none if the query stands before all keys.
        let end = (kv_len + (self.first_row + row) / shape.group() + 1).saturating_sub(q_len);
        spec.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// Keys that any row of the tile sees.
    pub(crate) fn visible(&self, shape: &AttentionShape<'_>) -> Range<usize> {
        self.visible_to(shape, 0).start..self.visible_to(shape, self.rows - 1).end
    }
}

/// The tiles of rows `rows` of a sequence and head.
pub(crate) fn tiles(sequence: Sequence, kv_head: usize, rows: Range<usize>) -> Vec<Tile> {
    let tile = |first_row| Tile { sequence, kv_head, first_row, rows: ROWS.min(rows.end - first_row) };
    rows.clone().step_by(ROWS).map(tile).collect()
}

/// How the rows of a tile lie in memory, with a row length that whole registers divide.
#[derive(Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub(crate) isa: InstructionSet,
    pub(crate) shape: &'a AttentionShape<'a>,
    /// `head_dim`, rounded up to whole registers.
    pub(crate) padded_dim: usize,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(isa: InstructionSet, shape: &'a AttentionShape<'a>) -> Self {
        Self { isa, shape, padded_dim: shape.spec().head_dim.next_multiple_of(MAX_LANES) }
    }

    /// Hints that the tile's rows of `from` are read after a while.
    pub(crate) fn prefetch(&self, tile: &Tile, from: TokenRows<'_>) {
        let head_dim = self.shape.spec().head_dim;
        for row in 0..tile.rows {
            let (token, head) = tile.token_and_head(self.shape, row);
            prefetch(&from.from(token, head * head_dim)[..head_dim]);
        }
    }

    /// Copies the tile's rows of `from`, times `factor`, to `rows` `[width, padded_dim]`; the rest of `rows` becomes 0.
    pub(crate) fn gather(&self, tile: &Tile, from: TokenRows<'_>, factor: f32, rows: &mut [f32]) {
        let head_dim = self.shape.spec().head_dim;
        for (r, row) in rows.chunks_exact_mut(self.padded_dim).enumerate() {
            let (row, padding) = row.split_at_mut(head_dim);
            padding.fill(0.0);
            if r < tile.rows {
                let (token, head) = tile.token_and_head(self.shape, r);
                let from = from.from(token, head * head_dim);
                row.iter_mut().zip(from).for_each(|(y, x)| *y = factor * x);
            } else {
                row.fill(0.0);
            }
        }
    }

    /// `[width, padded_dim]` to `[padded_dim, width]`.
    pub(crate) fn rows_to_columns(&self, tile: &Tile, rows: &[f32], columns: &mut [f32]) {
        let (from_row, out_row) = (self.padded_dim, tile.width());
        self.isa.transpose(Transpose { rows: out_row, cols: from_row, from: rows, from_row, out_row }, columns);
    }

    /// `[padded_dim, width]` to `[width, padded_dim]`.
    pub(crate) fn columns_to_rows(&self, tile: &Tile, columns: &[f32], rows: &mut [f32]) {
        let (from_row, out_row) = (tile.width(), self.padded_dim);
        self.isa.transpose(Transpose { rows: out_row, cols: from_row, from: columns, from_row, out_row }, rows);
    }

    /// Tiles that meet a block of keys one after another, so that the block is packed once for all: as many as leave
    /// what they work in, `arrays` of `[padded_dim, ROWS]` each, in the second cache.
    pub(crate) fn tiles_at_once(&self, arrays: usize) -> usize {
        (STATES / (arrays * self.padded_dim * ROWS)).clamp(1, 8)
    }

    /// Elements that [`Layout::pack`] needs.
    pub(crate) fn packed_len(&self) -> usize {
        2 * KEYS * self.shape.spec().head_dim
    }

    /// `block` with its keys and values copied to `memory`, one after another, if they lie [`FAR`] apart.
    pub(crate) fn pack<'b>(&self, block: KeyBlock<'b>, memory: &'b mut [f32]) -> KeyBlock<'b> {
        let dim = self.shape.spec().head_dim;
        let (k, v) = memory.split_at_mut(KEYS * dim);
        let keys = block.keys.len();
        let (k, k_stride) = pack_rows(keys, dim, block.k, block.k_stride, k);
        let (v, v_stride) = pack_rows(keys, dim, block.v, block.v_stride, v);
        KeyBlock { k, k_stride, v, v_stride, ..block }
    }
}

fn pack_rows<'b>(
    num_rows: usize,
    row_len: usize,
    from: &'b [f32],
    stride: usize,
    to: &'b mut [f32],
) -> (&'b [f32], usize) {
    if stride < FAR {
        return (from, stride);
    }
    let rows = from.chunks(stride).map(|row| &row[..row_len]).take(num_rows);
    to.chunks_exact_mut(row_len).zip(rows).for_each(|(to, from)| to.copy_from_slice(from));
    (to, row_len)
}
