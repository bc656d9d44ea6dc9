//! One task: the queries of a chunk, tile by tile, against the keys that they see, block by block.

use std::f32::consts::LOG2_E;

use super::Chunk;
use crate::TokenRows;
use crate::blocks::{KeyBlock, Operands, Source, key_blocks};
use crate::forward::{compute_scores, score_factor};
use crate::product::{Product, Start};
use crate::scores::Differentiate;
use crate::tile::{KEYS, Layout, ROWS, Tile, tiles};
use crate::workspace::{Shared, carve};

/// What all tasks share.
pub(super) struct Pass<'a> {
    pub(super) layout: Layout<'a>,
    pub(super) operands: Operands<'a>,
    pub(super) o: &'a [f32],
    pub(super) softmax_lse: &'a [f32],
    pub(super) grad_o: &'a [f32],
    pub(super) grad_q: Option<Shared<'a>>,
    pub(super) needs_kv: bool,
    pub(super) needs_prefix: bool,
}

impl Pass<'_> {
    fn needs_key_grads(&self, source: Source) -> bool {
        match source {
            Source::Prefix => self.needs_prefix,
            Source::Own => self.needs_kv,
        }
    }
}

/// What one task works in.
struct Working<'a> {
    /// Queries times [`score_factor`], `[width, padded_dim]` and `[padded_dim, width]`.
    q_rows: &'a mut [f32],
    q: &'a mut [f32],
    /// Gradients of the result, likewise.
    grad_o_rows: &'a mut [f32],
    grad_o: &'a mut [f32],
    /// `[padded_dim, width]`: `sum_j ds_ij k_j` so far.
    grad_q: &'a mut [f32],
    /// `[keys, width]`: scores, then probabilities.
    scores: &'a mut [f32],
    /// `[keys, width]`: `dp`, then `ds`.
    grads: &'a mut [f32],
    packed: &'a mut [f32],
}

pub(super) fn working_len(layout: &Layout<'_>) -> usize {
    ROWS * (5 * layout.padded_dim + 2 * KEYS) + layout.packed_len()
}

impl<'a> Working<'a> {
    fn carve(layout: &Layout<'_>, mut memory: &'a mut [f32]) -> Self {
        let mut part = |len| carve(&mut memory, len);
        let dim = layout.padded_dim;
        Self {
            q_rows: part(ROWS * dim),
            q: part(ROWS * dim),
            grad_o_rows: part(ROWS * dim),
            grad_o: part(ROWS * dim),
            grad_q: part(ROWS * dim),
            scores: part(ROWS * KEYS),
            grads: part(ROWS * KEYS),
            packed: part(layout.packed_len()),
        }
    }
}

/// Per row of a tile, what [`Differentiate`] needs.
struct Statistics {
    lse: [f32; ROWS],
    delta: [f32; ROWS],
}

/// Writes the gradients of the chunk's queries, and its sums for keys and values, `[2, sums_rows, padded_dim]`.
pub(super) fn run(pass: &Pass<'_>, chunk: &Chunk, sums: &mut [f32], memory: &mut [f32]) {
    sums.fill(0.0);
    let layout = &pass.layout;
    let mut working = Working::carve(layout, memory);
    for tile in tiles(chunk.tile.sequence, chunk.tile.kv_head, chunk.rows.clone()) {
        let statistics = working.load(pass, &tile);
        for block in key_blocks(layout.shape, &pass.operands, &tile) {
            if pass.grad_q.is_some() || pass.needs_key_grads(block.source) {
                working.differentiate(pass, chunk, &tile, &statistics, block, sums);
            }
        }
        working.write_grad_q(pass, &tile);
    }
}

impl Working<'_> {
    fn load(&mut self, pass: &Pass<'_>, tile: &Tile) -> Statistics {
        let (layout, shape) = (&pass.layout, pass.layout.shape);
        let (spec, len) = (shape.spec(), tile.width() * layout.padded_dim);
        let grad_o = TokenRows::contiguous(pass.grad_o, spec.num_heads * spec.head_dim);
        layout.gather(tile, pass.operands.q, score_factor(shape), &mut self.q_rows[..len]);
        layout.gather(tile, grad_o, 1.0, &mut self.grad_o_rows[..len]);
        layout.rows_to_columns(tile, self.q_rows, self.q);
        layout.rows_to_columns(tile, self.grad_o_rows, self.grad_o);
        self.grad_q.fill(0.0);
        let mut statistics = Statistics { lse: [0.0; ROWS], delta: [0.0; ROWS] };
        for (r, grad_o) in self.grad_o_rows.chunks_exact(layout.padded_dim).take(tile.rows).enumerate() {
            let (token, head) = tile.token_and_head(shape, r);
            let o = &pass.o[(token * spec.num_heads + head) * spec.head_dim..][..spec.head_dim];
            statistics.delta[r] = dot(o, grad_o);
            let lse = pass.softmax_lse[head * shape.num_q_tokens() + token];
            // A row that sees nothing: 2^(s - inf) = 0 whatever the score.
            statistics.lse[r] = if lse == f32::NEG_INFINITY { f32::INFINITY } else { lse * LOG2_E };
        }
        statistics
    }

    /// Adds what one block contributes.
    fn differentiate(
        &mut self,
        pass: &Pass<'_>,
        chunk: &Chunk,
        tile: &Tile,
        statistics: &Statistics,
        block: KeyBlock<'_>,
        sums: &mut [f32],
    ) {
        let layout = &pass.layout;
        let (isa, width, spec) = (layout.isa, tile.width(), layout.shape.spec());
        let block = layout.pack(block, self.packed);
        let keys = block.keys.len();
        let scores = &mut self.scores[..keys * width];
        let grads = &mut self.grads[..keys * width];
        compute_scores(layout, tile, &block, self.q, scores);
        isa.product(Product {
            rows: keys,
            depth: spec.head_dim,
            cols: width,
            a: block.v,
            a_row: block.v_stride,
            a_step: 1,
            b: self.grad_o,
            b_row: width,
            out: grads,
            out_row: width,
            start: Start::Zero,
        });
        let Statistics { lse, delta } = statistics;
        isa.run(Differentiate { scores, grads, width, lse, delta, softcap: spec.softcap });
        if pass.grad_q.is_some() {
            isa.product(Product {
                rows: spec.head_dim,
                depth: keys,
                cols: width,
                a: block.k,
                a_row: 1,
                a_step: block.k_stride,
                b: grads,
                b_row: width,
                out: self.grad_q,
                out_row: width,
                start: Start::Add,
            });
        }
        if pass.needs_key_grads(block.source) {
            let first = match block.source {
                Source::Prefix => block.keys.start,
                Source::Own => chunk.prefix_len + block.keys.start - chunk.keys.start,
            };
            let (sums_k, sums_v) = sums.split_at_mut(chunk.sums_rows() * layout.padded_dim);
            add_to_keys(layout, keys, width, grads, self.q_rows, &mut sums_k[first * layout.padded_dim..]);
            add_to_keys(layout, keys, width, scores, self.grad_o_rows, &mut sums_v[first * layout.padded_dim..]);
        }
    }

    fn write_grad_q(&mut self, pass: &Pass<'_>, tile: &Tile) {
        let Some(grad_q) = pass.grad_q else { return };
        let spec = pass.layout.shape.spec();
        let rows = &mut self.q_rows;
        pass.layout.columns_to_rows(tile, self.grad_q, rows);
        for (r, row) in rows.chunks_exact(pass.layout.padded_dim).take(tile.rows).enumerate() {
            let (token, head) = tile.token_and_head(pass.layout.shape, r);
            // SAFETY: every (token, head) is one row of one tile of one task.
            let to = unsafe { grad_q.part((token * spec.num_heads + head) * spec.head_dim, spec.head_dim) };
            to.iter_mut().zip(row).for_each(|(g, x)| *g = spec.softmax_scale * x);
        }
    }
}

/// `sums[j] += sum_i weights[j, i] rows[i]`, for weights `[keys, width]` and rows `[width, padded_dim]`.
fn add_to_keys(layout: &Layout<'_>, keys: usize, width: usize, weights: &[f32], rows: &[f32], sums: &mut [f32]) {
    let dim = layout.padded_dim;
    layout.isa.product(Product {
        rows: keys,
        depth: width,
        cols: dim,
        a: weights,
        a_row: width,
        a_step: 1,
        b: rows,
        b_row: dim,
        out: sums,
        out_row: dim,
        start: Start::Add,
    });
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
