//! One task: the queries of a chunk, tile by tile, against the keys that they see, block by block.

use std::f32::consts::LOG2_E;

use super::Chunk;
use crate::TokenRows;
use crate::blocks::{KeyBlock, Operands, Source, key_blocks};
use crate::forward::{compute_scores, multiply_keys, score_factor};
use crate::product::{Product, Start};
use crate::relative_bias::{Differences, SumBias};
use crate::scores::Differentiate;
use crate::tile::{KEYS, Layout, ROWS, Tile};
use crate::visible::{Part, Visible};
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
    pub(super) needs_bias: bool,
}

impl Pass<'_> {
    fn needs_key_grads(&self, source: Source) -> bool {
        match source {
            Source::Prefix => self.needs_prefix,
            Source::Own => self.needs_kv,
        }
    }
}

/// What a tile keeps, in arrays of `[padded_dim, width]`: see [`State`].
const ARRAYS: usize = 5;

/// What one task works in.
struct Working<'a> {
    /// `[keys, width]`: scores, then probabilities.
    scores: &'a mut [f32],
    /// `[keys, width]`: `dp`, then `ds`.
    grads: &'a mut [f32],
    packed: &'a mut [f32],
    /// For each tile, [`ARRAYS`] of `[padded_dim, width]`.
    states: &'a mut [f32],
}

/// One tile on its way through the blocks.
struct State<'a> {
    tile: Tile,
    /// Queries times [`score_factor`], `[width, padded_dim]` and `[padded_dim, width]`.
    q_rows: &'a mut [f32],
    q: &'a mut [f32],
    /// Gradients of the result, likewise.
    grad_o_rows: &'a mut [f32],
    grad_o: &'a mut [f32],
    /// `[padded_dim, width]`: `sum_j ds_ij k_j` so far.
    grad_q: &'a mut [f32],
    /// By row, in units of `ln 2`.
    lse: [f32; ROWS],
    /// By row.
    delta: [f32; ROWS],
}

pub(super) fn working_len(layout: &Layout<'_>) -> usize {
    ROWS * (ARRAYS * layout.padded_dim * layout.tiles_at_once(ARRAYS) + 2 * KEYS) + layout.packed_len()
}

/// Writes the gradients of the chunk's queries, and its sums for keys and values, `[2, sums_rows, padded_dim]`, and for
/// differences of positions.
pub(super) fn run(pass: &Pass<'_>, chunk: &Chunk, sums: &mut [f32], mut memory: &mut [f32]) {
    sums.fill(0.0);
    let layout = &pass.layout;
    let mut part = |len| carve(&mut memory, len);
    let mut working = Working {
        scores: part(ROWS * KEYS),
        grads: part(ROWS * KEYS),
        packed: part(layout.packed_len()),
        states: memory,
    };
    for tiles in chunk.tiles.chunks(layout.tiles_at_once(ARRAYS)) {
        working.differentiate(pass, chunk, tiles, sums);
    }
}

impl Working<'_> {
    fn differentiate(&mut self, pass: &Pass<'_>, chunk: &Chunk, tiles: &[Tile], sums: &mut [f32]) {
        let layout = &pass.layout;
        let memory = self.states.chunks_exact_mut(ARRAYS * ROWS * layout.padded_dim);
        let mut states: Vec<_> =
            tiles.iter().zip(memory).map(|(tile, memory)| State::load(pass, tile, memory)).collect();
        for block in key_blocks(layout.shape, &pass.operands, tiles) {
            if pass.grad_q.is_none() && !pass.needs_bias && !pass.needs_key_grads(block.source) {
                continue;
            }
            let block = layout.pack(block, self.packed);
            for state in &mut states {
                if let Some(block) = block.visible_to(layout.shape, &state.tile) {
                    let visible = Visible::new(layout.shape, &state.tile, &block);
                    state.differentiate(pass, &block, &visible, self.scores, self.grads);
                    if pass.needs_key_grads(block.source) {
                        state.add_to_keys(pass, chunk, &block, &visible, [self.scores, self.grads], sums);
                    }
                    if let Some(differences) = &chunk.differences {
                        let sums = &mut sums[chunk.key_value_len(pass)..];
                        state.add_to_bias(pass, differences, &block, &visible, self.grads, sums);
                    }
                }
            }
        }
        states.into_iter().for_each(|state| state.write_grad_q(pass));
    }
}

impl<'a> State<'a> {
    fn load(pass: &Pass<'_>, tile: &Tile, mut memory: &'a mut [f32]) -> Self {
        let (layout, shape) = (&pass.layout, pass.layout.shape);
        let (spec, len) = (shape.spec(), tile.width() * layout.padded_dim);
        let mut part = || carve(&mut memory, ROWS * layout.padded_dim);
        let [q_rows, q, grad_o_rows, grad_o, grad_q] = [part(), part(), part(), part(), part()];
        let grad_of_rows = TokenRows::contiguous(pass.grad_o, spec.num_heads * spec.head_dim);
        layout.gather(tile, pass.operands.q, score_factor(shape), &mut q_rows[..len]);
        layout.gather(tile, grad_of_rows, 1.0, &mut grad_o_rows[..len]);
        layout.rows_to_columns(tile, q_rows, q);
        layout.rows_to_columns(tile, grad_o_rows, grad_o);
        grad_q.fill(0.0);
        let (mut lse, mut delta) = ([0.0; ROWS], [0.0; ROWS]);
        for (r, grad_o) in grad_o_rows.chunks_exact(layout.padded_dim).take(tile.rows).enumerate() {
            let (token, head) = tile.token_and_head(shape, r);
            let o = &pass.o[(token * spec.num_heads + head) * spec.head_dim..][..spec.head_dim];
            delta[r] = dot(o, grad_o);
            let saved = pass.softmax_lse[head * shape.num_q_tokens() + token];
            // A row that sees nothing: 2^(s - inf) = 0 whatever the score.
            lse[r] = if saved == f32::NEG_INFINITY { f32::INFINITY } else { saved * LOG2_E };
        }
        Self { tile: *tile, q_rows, q, grad_o_rows, grad_o, grad_q, lse, delta }
    }

    /// Probabilities and gradients of the scores of one block, and what these add to the gradients of the queries.
    fn differentiate(
        &mut self,
        pass: &Pass<'_>,
        block: &KeyBlock<'_>,
        visible: &Visible,
        scores: &mut [f32],
        grads: &mut [f32],
    ) {
        let layout = &pass.layout;
        let (isa, width, spec) = (layout.isa, self.tile.width(), layout.shape.spec());
        let count = block.keys.len() * width;
        let (scores, grads) = (&mut scores[..count], &mut grads[..count]);
        compute_scores(layout, pass.operands.bias, &self.tile, block, visible, self.q, scores);
        multiply_keys(layout, width, visible, (block.v, block.v_stride), self.grad_o, grads);
        isa.run(Differentiate { scores, grads, width, lse: &self.lse, delta: &self.delta, softcap: spec.softcap });
        if pass.grad_q.is_none() {
            return;
        }
        for Part { queries, keys } in visible.parts() {
            isa.product(Product {
                rows: spec.head_dim,
                depth: keys.len(),
                cols: queries.len(),
                a: &block.k[keys.start * block.k_stride..],
                a_row: 1,
                a_step: block.k_stride,
                b: &grads[keys.start * width + queries.start..],
                b_row: width,
                out: &mut self.grad_q[queries.start..],
                out_row: width,
                start: Start::Add,
            });
        }
    }

    /// Adds what one block's probabilities and gradients of scores, `[keys, width]` each, contribute to the chunk's sums.
    fn add_to_keys(
        &self,
        pass: &Pass<'_>,
        chunk: &Chunk,
        block: &KeyBlock<'_>,
        visible: &Visible,
        [scores, grads]: [&[f32]; 2],
        sums: &mut [f32],
    ) {
        let (width, dim) = (self.tile.width(), pass.layout.padded_dim);
        let first = match block.source {
            Source::Prefix => block.keys.start,
            Source::Own => chunk.prefix_len + block.keys.start - chunk.keys.start,
        };
        let (sums_k, sums_v) = sums[..chunk.key_value_len(pass)].split_at_mut(chunk.sums_rows() * dim);
        for (weights, rows, sums) in [(grads, &*self.q_rows, sums_k), (scores, &*self.grad_o_rows, sums_v)] {
            for Part { queries, keys } in visible.parts() {
                pass.layout.isa.product(Product {
                    rows: keys.len(),
                    depth: queries.len(),
                    cols: dim,
                    a: &weights[keys.start * width + queries.start..],
                    a_row: width,
                    a_step: 1,
                    b: &rows[queries.start * dim..],
                    b_row: dim,
                    out: &mut sums[(first + keys.start) * dim..],
                    out_row: dim,
                    start: Start::Add,
                });
            }
        }
    }

    /// Adds what one block's gradients of scores, `[keys, width]`, contribute to the sums of differences of positions.
    fn add_to_bias(
        &self,
        pass: &Pass<'_>,
        differences: &Differences,
        block: &KeyBlock<'_>,
        visible: &Visible,
        grads: &[f32],
        sums: &mut [f32],
    ) {
        let sums = &mut sums[differences.start(&self.tile, block)..];
        let (width, rows, keys) = (self.tile.width(), self.tile.rows, block.keys.len());
        for part in visible.parts() {
            let key_step = pass.layout.shape.group();
            pass.layout.isa.run(SumBias { grads, width, keys, rows, part, key_step, sums });
        }
    }

    fn write_grad_q(self, pass: &Pass<'_>) {
        let Some(grad_q) = pass.grad_q else { return };
        let Self { tile, q_rows: rows, grad_q: columns, .. } = self;
        let spec = pass.layout.shape.spec();
        pass.layout.columns_to_rows(&tile, columns, rows);
        for (r, row) in rows.chunks_exact(pass.layout.padded_dim).take(tile.rows).enumerate() {
            let (token, head) = tile.token_and_head(pass.layout.shape, r);
            // SAFETY: every (token, head) is one row of one tile of one task.
            let to = unsafe { grad_q.part((token * spec.num_heads + head) * spec.head_dim, spec.head_dim) };
            to.iter_mut().zip(row).for_each(|(g, x)| *g = spec.softmax_scale * x);
        }
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
