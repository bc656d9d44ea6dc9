//! What all tasks of a backward pass share, and what they do alike.

use std::f32::consts::LOG2_E;

use super::Chunk;
use crate::TokenRows;
use crate::blocks::{KeyBlock, Operands, Source};
use crate::isa::prefetch;
use crate::relative_bias::{Differences, SumBias};
use crate::tile::{Layout, ROWS, Tile};
use crate::visible::Visible;
use crate::workspace::Shared;

pub(super) struct Pass<'a> {
    pub(super) layout: Layout<'a>,
    pub(super) operands: Operands<'a>,
    pub(super) o: &'a [f32],
    pub(super) softmax_lse: &'a [f32],
    pub(super) grad_o: &'a [f32],
    pub(super) grad_q: Option<Shared<'a>>,
    pub(super) needs_kv: bool,
    pub(super) needs_prefix: bool,
    pub(super) needs_bias: bool,
    /// Keys that a product adds to at a time: the sums of a chunk begin and end at multiples of it.
    pub(super) keys_at_once: usize,
    /// What the sums of `ds_ij q_i`, with queries as they were multiplied, lack to be the gradients of keys.
    pub(super) key_factor: f32,
}

/// Of the rows of a tile.
pub(super) struct Statistics {
    /// In units of `ln 2`.
    pub(super) lse: [f32; ROWS],
    pub(super) delta: [f32; ROWS],
}

impl Pass<'_> {
    /// Whether anything is computed from the blocks of `source`.
    pub(super) fn needs(&self, source: Source) -> bool {
        self.grad_q.is_some() || self.needs_bias || self.needs_key_grads(source)
    }

    pub(super) fn needs_key_grads(&self, source: Source) -> bool {
        match source {
            Source::Prefix => self.needs_prefix,
            Source::Own => self.needs_kv,
        }
    }

    /// Results, by token.
    pub(super) fn o(&self) -> TokenRows<'_> {
        self.of_queries(self.o)
    }

    /// Their gradients.
    pub(super) fn grad_o(&self) -> TokenRows<'_> {
        self.of_queries(self.grad_o)
    }

    fn of_queries<'b>(&self, values: &'b [f32]) -> TokenRows<'b> {
        let spec = self.layout.shape.spec();
        TokenRows::contiguous(values, spec.num_heads * spec.head_dim)
    }

    /// Hints that the gradients of a tile's queries are written after a while.
    pub(super) fn prefetch_grad_q(&self, tile: &Tile) {
        let Some(grad_q) = self.grad_q else { return };
        for row in 0..tile.rows {
            // SAFETY: every (token, head) is one row of one tile of one task, and nothing is read of it.
            prefetch(unsafe { self.of_row(grad_q, tile, row) });
        }
    }

    /// From the gradients of the tile's results, `[rows, padded_dim]`.
    pub(super) fn statistics(&self, tile: &Tile, grad_o_rows: &[f32]) -> Statistics {
        let (shape, spec) = (self.layout.shape, self.layout.shape.spec());
        let (mut lse, mut delta) = ([0.0; ROWS], [0.0; ROWS]);
        for (r, grad_o) in grad_o_rows.chunks_exact(self.layout.padded_dim).take(tile.rows).enumerate() {
            let (token, head) = tile.token_and_head(shape, r);
            let o = &self.o[(token * spec.num_heads + head) * spec.head_dim..][..spec.head_dim];
            delta[r] = dot(o, grad_o);
            let saved = self.softmax_lse[head * shape.num_q_tokens() + token];
            // A row that sees nothing: 2^(s - inf) = 0 whatever the score.
            lse[r] = if saved == f32::NEG_INFINITY { f32::INFINITY } else { saved * LOG2_E };
        }
        Statistics { lse, delta }
    }

    /// The row of the sums of a chunk that belongs to key `key` of a block.
    pub(super) fn sums_row(&self, chunk: &Chunk, block: &KeyBlock<'_>, key: usize) -> usize {
        let key = block.keys.start + key;
        match block.source {
            Source::Prefix => key,
            Source::Own => chunk.prefix_rows + key - chunk.keys.start,
        }
    }

    /// Adds what one block's gradients of scores, `[keys, width]`, contribute to the sums of differences of positions.
    pub(super) fn add_to_bias(
        &self,
        tile: &Tile,
        differences: &Differences,
        block: &KeyBlock<'_>,
        visible: &Visible,
        grads: &[f32],
        sums: &mut [f32],
    ) {
        let sums = &mut sums[differences.start(tile, block)..];
        let (width, rows, keys) = (tile.width(), tile.rows, block.keys.len());
        for part in visible.parts() {
            let key_step = self.layout.shape.group();
            self.layout.isa.run(SumBias { grads, width, keys, rows, part, key_step, sums });
        }
    }

    /// Writes the gradients of a tile's queries from `sum_j ds_ij k_j`, `[padded_dim, width]`, by way of `rows`.
    pub(super) fn write_grad_q(&self, tile: &Tile, columns: &[f32], rows: &mut [f32]) {
        let Some(grad_q) = self.grad_q else { return };
        let scale = self.layout.shape.spec().softmax_scale;
        self.layout.columns_to_rows(tile, columns, rows);
        for (r, row) in rows.chunks_exact(self.layout.padded_dim).take(tile.rows).enumerate() {
            // SAFETY: every (token, head) is one row of one tile of one task.
            let to = unsafe { self.of_row(grad_q, tile, r) };
            to.iter_mut().zip(row).for_each(|(g, x)| *g = scale * x);
        }
    }

    /// The elements of row `row` of a tile.
    ///
    /// # Safety
    /// As for [`Shared::part`].
    unsafe fn of_row<'b>(&self, shared: Shared<'b>, tile: &Tile, row: usize) -> &'b mut [f32] {
        let (spec, (token, head)) = (self.layout.shape.spec(), tile.token_and_head(self.layout.shape, row));
        // SAFETY: the caller's.
        unsafe { shared.part((token * spec.num_heads + head) * spec.head_dim, spec.head_dim) }
    }
}

/// The inner product of the shorter argument with as much of the other, in sixteen accumulators.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}
