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
use crate::pieces::{DEPTH, LINES, NEAREST, PackColumns, PackRows, TileProduct, chunk_words, packed_words};
use crate::scores::{Scale, Softmax};
use crate::spec::Sequence;
use crate::tile::{KEYS, Layout, ROWS, STATES, Tile};
use crate::transpose::Transpose;
use crate::visible::{Part, Visible};
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
                state.multiply_keys(layout, session, &visible, self.block.k, self.scores);
                let scores = &mut self.scores[..block.keys.len() * state.tile.width()];
                if PIECES == NEAREST {
                    layout.isa.run(Scale { scores, factor: score_factor(layout.shape) });
                }
                transform_scores(layout, operands.bias, &state.tile, &block, &visible, scores);
                state.absorb(layout, block.keys.len(), self.scores, self.weights);
                state.add_values(layout, session, &visible, self.block.v, self.weights);
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
        let (dim, head_dim) = (layout.padded_dim, layout.shape.spec().head_dim);
        let (len, keys) = (block.keys.len(), block.keys.len().next_multiple_of(DEPTH));
        let (there, padded) = ([len, head_dim], [keys, dim]);
        let (from, from_row) = padded_rows((block.k, block.k_stride), there, padded, rows);
        layout.isa.run(PackRows::<PIECES> { from, from_row, lines: keys, depth: dim, out: self.k });
        let (from, from_row) = padded_rows((block.v, block.v_stride), there, padded, rows);
        layout.isa.transpose(Transpose { rows: keys, cols: dim, from, from_row, out_row: keys }, columns);
        layout.isa.run(PackRows::<PIECES> { from: columns, from_row: keys, lines: dim, depth: keys, out: self.v });
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

    /// Scores `[keys, width]` of the visible pairs, and of some beside them.
    fn multiply_keys(
        &self,
        layout: &Layout<'_>,
        session: &TileSession,
        visible: &Visible,
        k: &[u32],
        scores: &mut [f32],
    ) {
        let (width, chunks) = (self.tile.width(), layout.padded_dim / DEPTH);
        let panel = |index: usize| index * chunks * chunk_words(PIECES);
        for (col, cols, keys) in columns(visible) {
            for key_panel in keys.start / LINES..keys.end.div_ceil(LINES) {
                session.multiply(TileProduct::<PIECES> {
                    a: &k[panel(key_panel)..],
                    b: &self.q[panel(col / LINES)..],
                    chunks,
                    out: &mut scores[key_panel * LINES * width + col..],
                    out_row: width,
                    cols,
                    adds: false,
                });
            }
        }
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

    /// Adds the products of weights and values.
    fn add_values(
        &mut self,
        layout: &Layout<'_>,
        session: &TileSession,
        visible: &Visible,
        v: &[u32],
        weights: &[u32],
    ) {
        let width = self.tile.width();
        let chunks_of_block = visible.keys().div_ceil(DEPTH);
        let part = |panel: usize, chunk: usize| (panel * chunks_of_block + chunk) * chunk_words(PIECES);
        for (col, cols, keys) in columns(visible) {
            let chunks = keys.start / DEPTH..keys.end.div_ceil(DEPTH);
            for panel in 0..layout.padded_dim / LINES {
                session.multiply(TileProduct::<PIECES> {
                    a: &v[part(panel, chunks.start)..],
                    b: &weights[part(col / LINES, chunks.start)..],
                    chunks: chunks.len(),
                    out: &mut self.o[panel * LINES * width + col..],
                    out_row: width,
                    cols,
                    adds: true,
                });
            }
        }
    }
}

/// The columns of products that hold every visible pair: the first, how many, and the keys that they see.
fn columns(visible: &Visible) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    visible.parts().flat_map(|Part { queries, keys }| {
        queries.clone().step_by(LINES).map(move |col| (col, LINES.min(queries.end - col), keys.clone()))
    })
}

/// Rows with zeros behind and below: `from` itself, rows `stride` apart, where none are missing, else copied to `to`.
fn padded_rows<'a>(
    (from, stride): (&'a [f32], usize),
    [rows, len]: [usize; 2],
    [padded_rows, padded_len]: [usize; 2],
    to: &'a mut [f32],
) -> (&'a [f32], usize) {
    if [rows, len] == [padded_rows, padded_len] {
        return (from, stride);
    }
    let to = &mut to[..padded_rows * padded_len];
    let (copied, rest) = to.split_at_mut(rows * padded_len);
    for (to, from) in copied.chunks_exact_mut(padded_len).zip(from.chunks(stride)) {
        to[..len].copy_from_slice(&from[..len]);
        to[len..].fill(0.0);
    }
    rest.fill(0.0);
    (to, padded_len)
}

/// Memory for words, where it was allocated for f32.
fn words(memory: &mut [f32]) -> &mut [u32] {
    bytemuck::cast_slice_mut(memory)
}
