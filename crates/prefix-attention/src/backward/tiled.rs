//! One task of [`super::wide`], with every product on the tiles of AMX and its operands rounded to the nearest bf16: see
//! [`crate::pieces`]. Sums, and everything between products, are f32.

use super::Chunk;
use super::pass::{Pass, Statistics};
use crate::blocks::{KeyBlock, key_blocks};
use crate::forward::{score_factor, transform_scores};
use crate::isa::TileSession;
use crate::panels::{self, words};
use crate::pieces::{DEPTH, LINES, NEAREST, PackColumns, PackRows, TileProduct, chunk_words, packed_words};
use crate::scores::{Differentiate, Scale};
use crate::tile::{KEYS, Layout, ROWS, STATES, Tile};
use crate::visible::{Part, Visible};
use crate::workspace::carve;

/// What one task works in.
struct Working<'a> {
    /// `[width, padded_dim]` or `[keys, padded_dim]`: a staging place for rows.
    rows: &'a mut [f32],
    /// And for columns.
    columns: &'a mut [f32],
    block: Packed<'a>,
    pairs: Pairs<'a>,
    /// For each tile.
    states: &'a mut [f32],
}

/// Of the pairs of a block and a tile, `[keys, width]`.
struct Pairs<'a> {
    /// Scores, then probabilities.
    scores: &'a mut [f32],
    /// `dp`, then `ds`.
    grads: &'a mut [f32],
    /// Rows or columns of either, rounded.
    packed: &'a mut [u32],
}

/// A block of keys, rounded.
struct Packed<'a> {
    /// Rows `[keys, padded_dim]` and `[padded_dim, keys]`.
    k: &'a mut [u32],
    k_transposed: &'a mut [u32],
    /// Rows `[keys, padded_dim]`.
    v: &'a mut [u32],
}

/// One tile on its way through the blocks.
struct State<'a> {
    tile: Tile,
    /// Columns `[padded_dim, width]`, and `[width, padded_dim]`.
    q: &'a mut [u32],
    q_transposed: &'a mut [u32],
    /// Gradients of the result, likewise.
    grad_o: &'a mut [u32],
    grad_o_transposed: &'a mut [u32],
    /// `[padded_dim, width]`: `sum_j ds_ij k_j` so far.
    grad_q: &'a mut [f32],
    statistics: Statistics,
}

pub(super) fn working_len(layout: &Layout<'_>) -> usize {
    let (dim, block) = (layout.padded_dim, packed_words(NEAREST, KEYS, layout.padded_dim));
    let pairs = 2 * ROWS * KEYS + packed_words(NEAREST, KEYS, ROWS);
    2 * ROWS * dim + 3 * block + pairs + State::len(layout) * tiles_at_once(layout)
}

/// Tiles that meet a block of keys once it is packed.
fn tiles_at_once(layout: &Layout<'_>) -> usize {
    (STATES / State::len(layout)).clamp(1, 8)
}

/// As [`super::wide::run`].
pub(super) fn run(session: &TileSession, pass: &Pass<'_>, chunk: &Chunk, sums: &mut [f32], memory: &mut [f32]) {
    sums.fill(0.0);
    let mut working = Working::carve(&pass.layout, memory);
    for tiles in chunk.tiles.chunks(tiles_at_once(&pass.layout)) {
        working.differentiate(session, pass, chunk, tiles, sums);
    }
}

impl<'a> Working<'a> {
    fn carve(layout: &Layout<'_>, mut memory: &'a mut [f32]) -> Self {
        let (dim, block) = (layout.padded_dim, packed_words(NEAREST, KEYS, layout.padded_dim));
        let mut part = |len| carve(&mut memory, len);
        Self {
            rows: part(ROWS * dim),
            columns: part(ROWS * dim),
            block: Packed { k: words(part(block)), k_transposed: words(part(block)), v: words(part(block)) },
            pairs: Pairs {
                scores: part(ROWS * KEYS),
                grads: part(ROWS * KEYS),
                packed: words(part(packed_words(NEAREST, KEYS, ROWS))),
            },
            states: memory,
        }
    }

    fn differentiate(
        &mut self,
        session: &TileSession,
        pass: &Pass<'_>,
        chunk: &Chunk,
        tiles: &[Tile],
        sums: &mut [f32],
    ) {
        let layout = &pass.layout;
        let (sums, sums_of_differences) = sums.split_at_mut(chunk.key_value_len(pass));
        let Self { rows, columns, block: packed, pairs, states } = self;
        let memory = states.chunks_exact_mut(State::len(layout));
        let mut states: Vec<_> = tiles
            .iter()
            .zip(memory)
            .enumerate()
            .map(|(index, (tile, memory))| {
                if let Some(next) = tiles.get(index + 1) {
                    [pass.operands.q, pass.grad_o(), pass.o()].iter().for_each(|&from| layout.prefetch(next, from));
                }
                State::load(pass, tile, [rows, columns], memory)
            })
            .collect();
        let mut blocks =
            key_blocks(layout.shape, &pass.operands, tiles).filter(|block| pass.needs(block.source)).peekable();
        while let Some(block) = blocks.next() {
            packed.load(layout, &block, [rows, columns]);
            for (index, state) in states.iter_mut().enumerate() {
                match blocks.peek() {
                    Some(next) => next.prefetch(index, tiles.len()),
                    None => pass.prefetch_grad_q(&state.tile),
                }
                // The whole block, or nothing, as in the forward pass.
                if block.visible_to(layout.shape, &state.tile).is_none() {
                    continue;
                }
                let visible = Visible::new(layout.shape, &state.tile, &block);
                state.differentiate(session, pass, &block, &visible, packed, pairs);
                if pass.grad_q.is_some() {
                    state.add_to_queries(session, layout, &visible, packed, pairs);
                }
                if pass.needs_key_grads(block.source) {
                    state.add_to_keys(session, layout, &visible, pairs, |key| pass.sums_row(chunk, &block, key), sums);
                }
                if let Some(differences) = &chunk.differences {
                    pass.add_to_bias(&state.tile, differences, &block, &visible, pairs.grads, sums_of_differences);
                }
            }
        }
        states.into_iter().for_each(|state| pass.write_grad_q(&state.tile, state.grad_q, rows));
    }
}

impl Packed<'_> {
    fn load(&mut self, layout: &Layout<'_>, block: &KeyBlock<'_>, [rows, columns]: [&mut [f32]; 2]) {
        let (keys, k) = (block.keys.len(), (block.k, block.k_stride));
        panels::pack_rows::<NEAREST>(layout, k, keys, rows, self.k);
        panels::pack_transposed::<NEAREST>(layout, k, keys, [rows, columns], self.k_transposed);
        panels::pack_rows::<NEAREST>(layout, (block.v, block.v_stride), keys, rows, self.v);
    }
}

impl<'a> State<'a> {
    fn len(layout: &Layout<'_>) -> usize {
        4 * packed_words(NEAREST, ROWS, layout.padded_dim) + ROWS * layout.padded_dim
    }

    fn load(pass: &Pass<'_>, tile: &Tile, [rows, columns]: [&mut [f32]; 2], mut memory: &'a mut [f32]) -> Self {
        let (layout, dim, width) = (&pass.layout, pass.layout.padded_dim, tile.width());
        let mut part = || words(carve(&mut memory, packed_words(NEAREST, ROWS, dim)));
        let [q, q_transposed, grad_o, grad_o_transposed] = [part(), part(), part(), part()];
        let pack = |rows: &[f32], columns: &mut [f32], out: &mut [u32], transposed: &mut [u32]| {
            layout.rows_to_columns(tile, rows, columns);
            layout.isa.run(PackColumns::<NEAREST> { from: &columns[..dim * width], width, out });
            layout.isa.run(PackColumns::<NEAREST> { from: rows, width: dim, out: transposed });
        };
        // Rows of zeros up to a whole chunk, for the products whose depth are the queries.
        let rows = &mut rows[..width.next_multiple_of(DEPTH) * dim];
        layout.gather(tile, pass.operands.q, 1.0, rows);
        pack(rows, columns, q, q_transposed);
        layout.gather(tile, pass.grad_o(), 1.0, rows);
        pack(rows, columns, grad_o, grad_o_transposed);
        let statistics = pass.statistics(tile, rows);
        memory.fill(0.0);
        Self { tile: *tile, q, q_transposed, grad_o, grad_o_transposed, grad_q: memory, statistics }
    }

    /// Probabilities and gradients of the scores of one block, with zeros up to a whole chunk of keys.
    fn differentiate(
        &self,
        session: &TileSession,
        pass: &Pass<'_>,
        block: &KeyBlock<'_>,
        visible: &Visible,
        packed: &Packed<'_>,
        Pairs { scores, grads, .. }: &mut Pairs<'_>,
    ) {
        let (layout, width, keys) = (&pass.layout, self.tile.width(), block.keys.len());
        panels::multiply_keys::<NEAREST>(layout, session, width, visible, [packed.k, self.q], scores);
        panels::multiply_keys::<NEAREST>(layout, session, width, visible, [packed.v, self.grad_o], grads);
        let count = keys.next_multiple_of(DEPTH) * width;
        let (scores, grads) = (&mut scores[..count], &mut grads[..count]);
        let (of_keys, of_padding) = scores.split_at_mut(keys * width);
        layout.isa.run(Scale { scores: of_keys, factor: score_factor(layout.shape) });
        transform_scores(layout, pass.operands.bias, &self.tile, block, visible, of_keys);
        of_padding.fill(f32::NEG_INFINITY);
        let (Statistics { lse, delta }, softcap) = (&self.statistics, layout.shape.spec().softcap);
        layout.isa.run(Differentiate { scores, grads, width, lse, delta, softcap });
    }

    /// Adds what one block contributes to the gradients of the queries.
    fn add_to_queries(
        &mut self,
        session: &TileSession,
        layout: &Layout<'_>,
        visible: &Visible,
        block: &Packed<'_>,
        Pairs { grads, packed, .. }: &mut Pairs<'_>,
    ) {
        let width = self.tile.width();
        let from = &grads[..visible.keys().next_multiple_of(DEPTH) * width];
        layout.isa.run(PackColumns::<NEAREST> { from, width, out: packed });
        panels::add_values::<NEAREST>(layout, session, width, visible, [block.k_transposed, packed], self.grad_q);
    }

    /// Adds what one block contributes to the sums of its keys and values: for both `sums[row(j), :] += sum_i rows[j, i] columns[i, :]`,
    /// over the visible pairs and some beside them, which are zero.
    fn add_to_keys(
        &self,
        session: &TileSession,
        layout: &Layout<'_>,
        visible: &Visible,
        Pairs { scores, grads, packed }: &mut Pairs<'_>,
        row: impl Fn(usize) -> usize,
        sums: &mut [f32],
    ) {
        let (dim, width, lines) = (layout.padded_dim, self.tile.width(), visible.keys().next_multiple_of(DEPTH));
        let chunks_of_tile = width.div_ceil(DEPTH);
        let part = |panel: usize, chunk: usize| (panel * chunks_of_tile + chunk) * chunk_words(NEAREST);
        let (of_keys, of_values) = sums.split_at_mut(sums.len() / 2);
        for (from, columns, sums) in
            [(&*grads, &*self.q_transposed, of_keys), (&*scores, &*self.grad_o_transposed, of_values)]
        {
            layout.isa.run(PackRows::<NEAREST> { from, from_row: width, lines, depth: width, out: packed });
            for Part { queries, keys } in visible.parts() {
                let (first, chunks) = (queries.start / DEPTH, queries.len().div_ceil(DEPTH));
                for key_panel in keys.start / LINES..keys.end.div_ceil(LINES) {
                    let sums = &mut sums[row(key_panel * LINES) * dim..];
                    for panel in 0..dim / LINES {
                        session.multiply(TileProduct::<NEAREST> {
                            a: &packed[part(key_panel, first)..],
                            b: &columns[part(panel, first)..],
                            chunks,
                            out: &mut sums[panel * LINES..],
                            out_row: dim,
                            cols: LINES,
                            adds: true,
                        });
                    }
                }
            }
        }
    }
}
