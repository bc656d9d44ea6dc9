//! One task: the queries of a chunk, tile by tile, against the keys that they see, block by block.

use super::Chunk;
use super::pass::{Pass, Statistics};
use crate::blocks::{KeyBlock, key_blocks};
use crate::forward::{compute_scores, multiply_keys, score_factor};
use crate::product::{Product, Start};
use crate::scores::Differentiate;
use crate::tile::{KEYS, Layout, ROWS, Tile};
use crate::visible::{Part, Visible};
use crate::workspace::carve;

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
    statistics: Statistics,
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
            if !pass.needs(block.source) {
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
                        pass.add_to_bias(&state.tile, differences, &block, &visible, self.grads, sums);
                    }
                }
            }
        }
        states.into_iter().for_each(|state| pass.write_grad_q(&state.tile, state.grad_q, state.q_rows));
    }
}

impl<'a> State<'a> {
    fn load(pass: &Pass<'_>, tile: &Tile, mut memory: &'a mut [f32]) -> Self {
        let (layout, len) = (&pass.layout, tile.width() * pass.layout.padded_dim);
        let mut part = || carve(&mut memory, ROWS * layout.padded_dim);
        let [q_rows, q, grad_o_rows, grad_o, grad_q] = [part(), part(), part(), part(), part()];
        layout.gather(tile, pass.operands.q, score_factor(layout.shape), &mut q_rows[..len]);
        layout.gather(tile, pass.grad_o(), 1.0, &mut grad_o_rows[..len]);
        layout.rows_to_columns(tile, q_rows, q);
        layout.rows_to_columns(tile, grad_o_rows, grad_o);
        grad_q.fill(0.0);
        let statistics = pass.statistics(tile, grad_o_rows);
        Self { tile: *tile, q_rows, q, grad_o_rows, grad_o, grad_q, statistics }
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
        let Statistics { lse, delta } = &self.statistics;
        isa.run(Differentiate { scores, grads, width, lse, delta, softcap: spec.softcap });
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
                    out: &mut sums[pass.sums_row(chunk, block, keys.start) * dim..],
                    out_row: dim,
                    start: Start::Add,
                });
            }
        }
    }
}
