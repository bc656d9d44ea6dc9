//! Sequences with many queries, multiplied by the tiles of AMX: see [`crate::pieces`].
//!
//! Blocks and what happens to scores are as in [`super::wide`]. Queries, keys and values are cut into pieces, or rounded to one,
//! when they are loaded, probabilities when they are computed.

use rayon::prelude::*;

use super::absorb::{AbsorbInPieces, Rescale};
use super::wide::{score_factor, transform_scores};
use super::{Results, tasks, tiles_of};
use crate::AttentionError;
use crate::blocks::{KeyBlock, Operands, key_blocks};
use crate::isa::{Amx, TileSession};
use crate::panels::{self, words};
use crate::pieces::{DEPTH, NEAREST, PackColumns, packed_words};
use crate::scores::{Scale, Softmax};
use crate::spec::Sequence;
use crate::tile::{KEYS, Layout, ROWS, STATES, Tile};
use crate::visible::Visible;
use crate::workspace::{Workspaces, carve};

/// Operands of products are `PIECES` bf16.
pub(super) fn forward<const PIECES: usize>(
    amx: Amx,
    layout: &Layout<'_>,
    operands: &Operands<'_>,
    sequences: &[Sequence],
    results: &Results<'_>,
) -> Result<(), AttentionError> {
    let layout = &Layout { padded_dim: layout.shape.spec().head_dim.next_multiple_of(DEPTH), ..*layout };
    let tiles = tiles_of(layout, sequences);
    let at_once = tiles_at_once::<PIECES>(layout, tiles.iter().map(Vec::len).sum());
    let tasks = tasks(&tiles, at_once);
    if tasks.is_empty() {
        return Ok(());
    }
    let workspaces = Workspaces::new(Working::<PIECES>::len(layout, at_once))?;
    tasks.into_par_iter().with_max_len(1).for_each(|tiles| {
        let session = amx.session();
        workspaces.with(|memory| {
            Working::<PIECES>::carve(layout, memory).attend(layout, &session, operands, tiles, results);
        });
    });
    Ok(())
}

/// Tiles of `count` that one task takes at most, all of which meet a block of keys once it is packed: as many as stay in
/// the second cache and leave some tasks to every thread. It changes nothing in a result.
fn tiles_at_once<const PIECES: usize>(layout: &Layout<'_>, count: usize) -> usize {
    /// Tasks for each thread, so that none waits long for the last.
    const TASKS: usize = 4;
    let of_thread = count.div_ceil(TASKS * rayon::current_num_threads());
    (STATES / State::<PIECES>::len(layout)).min(of_thread).clamp(1, 16)
}

/// What the tiles of one task work in.
struct Working<'a, const PIECES: usize> {
    /// `[width, padded_dim]` or `[keys, padded_dim]`: a staging place for rows.
    rows: &'a mut [f32],
    /// And for columns.
    columns: &'a mut [f32],
    block: Packed<'a, PIECES>,
    /// `[keys, width]`.
    scores: &'a mut [f32],
    /// Columns `[keys, width]`: `2^(s - max)`.
    weights: &'a mut [u32],
    /// For each tile, its queries and its results.
    states: &'a mut [f32],
}

/// A block of keys in pieces.
struct Packed<'a, const PIECES: usize> {
    /// Rows `[keys, padded_dim]`.
    k: &'a mut [u32],
    /// Rows `[padded_dim, keys]`.
    v: &'a mut [u32],
}

/// One tile on its way through the blocks.
struct State<'a, const PIECES: usize> {
    tile: Tile,
    /// Columns `[padded_dim, width]`.
    q: &'a mut [u32],
    /// `[padded_dim, width]`: `sum_j 2^(s_ij - max_i) v_j` so far.
    o: &'a mut [f32],
    softmax: Softmax,
}

impl<'a, const PIECES: usize> Working<'a, PIECES> {
    fn len(layout: &Layout<'_>, tiles: usize) -> usize {
        let (dim, words) = (layout.padded_dim, |lines, depth| packed_words(PIECES, lines, depth));
        let shared = 2 * ROWS * dim + words(KEYS, dim) + words(dim, KEYS);
        shared + ROWS * KEYS + words(ROWS, KEYS) + State::<PIECES>::len(layout) * tiles
    }

    fn carve(layout: &Layout<'_>, mut memory: &'a mut [f32]) -> Self {
        let dim = layout.padded_dim;
        let mut part = |len| carve(&mut memory, len);
        Self {
            rows: part(ROWS * dim),
            columns: part(ROWS * dim),
            block: Packed {
                k: words(part(packed_words(PIECES, KEYS, dim))),
                v: words(part(packed_words(PIECES, dim, KEYS))),
            },
            scores: part(ROWS * KEYS),
            weights: words(part(packed_words(PIECES, ROWS, KEYS))),
            states: memory,
        }
    }

    fn attend(
        mut self,
        layout: &Layout<'_>,
        session: &TileSession,
        operands: &Operands<'_>,
        tiles: &[Tile],
        results: &Results<'_>,
    ) {
        let memory = self.states.chunks_exact_mut(State::<PIECES>::len(layout));
        let mut states: Vec<_> = tiles
            .iter()
            .zip(memory)
            .enumerate()
            .map(|(index, (tile, memory))| {
                if let Some(next) = tiles.get(index + 1) {
                    layout.prefetch(next, operands.q);
                }
                State::<PIECES>::load(layout, operands, tile, [self.rows, self.columns], memory)
            })
            .collect();
        let mut blocks = key_blocks(layout.shape, operands, tiles).peekable();
        while let Some(block) = blocks.next() {
            self.block.load(layout, &block, [self.rows, self.columns]);
            for (index, state) in states.iter_mut().enumerate() {
                match blocks.peek() {
                    Some(next) => next.prefetch(index, tiles.len()),
                    None => results.prefetch(&state.tile),
                }
                // The whole block, or nothing: where it begins decides which keys stand side by side in pieces.
                if block.visible_to(layout.shape, &state.tile).is_none() {
                    continue;
                }
                let visible = Visible::new(layout.shape, &state.tile, &block);
                let width = state.tile.width();
                panels::multiply_keys::<PIECES>(layout, session, width, &visible, [self.block.k, state.q], self.scores);
                let scores = &mut self.scores[..block.keys.len() * width];
                if PIECES == NEAREST {
                    layout.isa.run(Scale { scores, factor: score_factor(layout.shape) });
                }
                transform_scores(layout, operands.bias, &state.tile, &block, &visible, scores);
                state.absorb(layout, block.keys.len(), self.scores, self.weights);
                panels::add_values::<PIECES>(layout, session, width, &visible, [self.block.v, self.weights], state.o);
            }
        }
        for State { tile, o, softmax, .. } in states {
            layout.columns_to_rows(&tile, o, self.rows);
            results.write_tile(layout, &tile, &softmax, self.rows);
        }
    }
}

impl<const PIECES: usize> Packed<'_, PIECES> {
    fn load(&mut self, layout: &Layout<'_>, block: &KeyBlock<'_>, [rows, columns]: [&mut [f32]; 2]) {
        let keys = block.keys.len();
        panels::pack_rows::<PIECES>(layout, (block.k, block.k_stride), keys, rows, self.k);
        panels::pack_transposed::<PIECES>(layout, (block.v, block.v_stride), keys, [rows, columns], self.v);
    }
}

impl<'a, const PIECES: usize> State<'a, PIECES> {
    fn len(layout: &Layout<'_>) -> usize {
        packed_words(PIECES, ROWS, layout.padded_dim) + ROWS * layout.padded_dim
    }

    fn load(
        layout: &Layout<'_>,
        operands: &Operands<'_>,
        tile: &Tile,
        [rows, columns]: [&mut [f32]; 2],
        memory: &'a mut [f32],
    ) -> Self {
        let (q, o) = memory.split_at_mut(packed_words(PIECES, ROWS, layout.padded_dim));
        let (q, width) = (words(q), tile.width());
        // Rounded is the query itself, not its product with a factor: the backward pass may have kept no more of it.
        let factor = if PIECES == NEAREST { 1.0 } else { score_factor(layout.shape) };
        layout.gather(tile, operands.q, factor, &mut rows[..width * layout.padded_dim]);
        layout.rows_to_columns(tile, rows, columns);
        layout.isa.run(PackColumns::<PIECES> { from: &columns[..layout.padded_dim * width], width, out: q });
        o.fill(0.0);
        Self { tile: *tile, q, o, softmax: Softmax::new() }
    }

    /// Takes the scores of a block into the running softmax.
    fn absorb(&mut self, layout: &Layout<'_>, keys: usize, scores: &mut [f32], weights: &mut [u32]) {
        let width = self.tile.width();
        let scores = &mut scores[..keys.next_multiple_of(DEPTH) * width];
        scores[keys * width..].fill(f32::NEG_INFINITY);
        layout.isa.run(AbsorbInPieces::<PIECES> { scores, width, softmax: &mut self.softmax, weights });
        if self.softmax.rescale[..width].iter().any(|&factor| factor != 1.0) {
            layout.isa.run(Rescale { values: self.o, width, factors: &self.softmax.rescale });
        }
    }
}
