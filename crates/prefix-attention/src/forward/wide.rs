//! Sequences with many queries: tiles of [`ROWS`] queries, a register lane each.

use std::f32::consts::LOG2_E;

use rayon::prelude::*;

use super::{Results, tasks, tiles_of};
use crate::blocks::{KeyBlock, Operands, key_blocks};
use crate::product::{Product, Start};
use crate::relative_bias::{AddBias, Bias};
use crate::scores::{Absorb, Mask, Softcap, Softmax};
use crate::spec::Sequence;
use crate::tile::{KEYS, Layout, ROWS, Tile};
use crate::visible::{Part, Visible};
use crate::workspace::{Workspaces, carve};
use crate::{AttentionError, AttentionShape};

pub(super) fn forward(
    layout: &Layout<'_>,
    operands: &Operands<'_>,
    sequences: &[Sequence],
    results: &Results<'_>,
) -> Result<(), AttentionError> {
    let tiles = tiles_of(layout, sequences);
    let tasks = tasks(&tiles, layout.tiles_at_once(ARRAYS));
    if tasks.is_empty() {
        return Ok(());
    }
    let workspaces = Workspaces::new(Working::len(layout))?;
    tasks.into_par_iter().with_max_len(1).for_each(|tiles| {
        workspaces.with(|memory| Working::carve(layout, memory).attend(layout, operands, tiles, results));
    });
    Ok(())
}

/// Queries and results of a tile.
const ARRAYS: usize = 2;

/// What the tiles of one task work in.
struct Working<'a> {
    /// `[width, padded_dim]`: a staging place for rows.
    rows: &'a mut [f32],
    /// `[keys, width]`.
    scores: &'a mut [f32],
    packed: &'a mut [f32],
    /// For each tile, [`ARRAYS`] of `[padded_dim, width]`.
    states: &'a mut [f32],
}

/// One tile on its way through the blocks.
struct State<'a> {
    tile: Tile,
    /// `[padded_dim, width]`: queries.
    q: &'a mut [f32],
    /// `[padded_dim, width]`: `sum_j 2^(s_ij - max_i) v_j` so far.
    o: &'a mut [f32],
    softmax: Softmax,
}

impl<'a> Working<'a> {
    fn len(layout: &Layout<'_>) -> usize {
        ROWS * (layout.padded_dim * (1 + ARRAYS * layout.tiles_at_once(ARRAYS)) + KEYS) + layout.packed_len()
    }

    fn carve(layout: &Layout<'_>, mut memory: &'a mut [f32]) -> Self {
        let mut part = |len| carve(&mut memory, len);
        Self {
            rows: part(ROWS * layout.padded_dim),
            scores: part(ROWS * KEYS),
            packed: part(layout.packed_len()),
            states: memory,
        }
    }

    fn attend(self, layout: &Layout<'_>, operands: &Operands<'_>, tiles: &[Tile], results: &Results<'_>) {
        let len = ROWS * layout.padded_dim;
        let memory = self.states.chunks_exact_mut(ARRAYS * len);
        let mut states: Vec<_> = tiles
            .iter()
            .zip(memory)
            .map(|(tile, memory)| State::load(layout, operands, tile, self.rows, memory))
            .collect();
        let mut blocks = key_blocks(layout.shape, operands, tiles).peekable();
        while let Some(block) = blocks.next() {
            let block = layout.pack(block, self.packed);
            for (index, state) in states.iter_mut().enumerate() {
                if let Some(next) = blocks.peek() {
                    next.prefetch(index, tiles.len());
                }
                if let Some(block) = block.visible_to(layout.shape, &state.tile) {
                    state.absorb(layout, operands.bias, &block, self.scores);
                }
            }
        }
        for State { tile, o, softmax, .. } in states {
            layout.columns_to_rows(&tile, o, self.rows);
            results.write_tile(layout, &tile, &softmax, self.rows);
        }
    }
}

impl<'a> State<'a> {
    fn load(
        layout: &Layout<'_>,
        operands: &Operands<'_>,
        tile: &Tile,
        rows: &mut [f32],
        memory: &'a mut [f32],
    ) -> Self {
        let (q, o) = memory.split_at_mut(ROWS * layout.padded_dim);
        layout.gather(tile, operands.q, score_factor(layout.shape), &mut rows[..tile.width() * layout.padded_dim]);
        layout.rows_to_columns(tile, rows, q);
        o.fill(0.0);
        Self { tile: *tile, q, o, softmax: Softmax::new() }
    }

    fn absorb(&mut self, layout: &Layout<'_>, bias: Option<Bias<'_>>, block: &KeyBlock<'_>, scores: &mut [f32]) {
        let (isa, width) = (layout.isa, self.tile.width());
        let scores = &mut scores[..block.keys.len() * width];
        let visible = Visible::new(layout.shape, &self.tile, block);
        compute_scores(layout, bias, &self.tile, block, &visible, self.q, scores);
        isa.run(Absorb { scores, width, softmax: &mut self.softmax });
        // Queries outside of the parts see nothing new: their maximum stays, and so does what they accumulated.
        for Part { queries, keys } in visible.parts() {
            isa.product(Product {
                rows: layout.shape.spec().head_dim,
                depth: keys.len(),
                cols: queries.len(),
                a: &block.v[keys.start * block.v_stride..],
                a_row: 1,
                a_step: block.v_stride,
                b: &scores[keys.start * width + queries.start..],
                b_row: width,
                out: &mut self.o[queries.start..],
                out_row: width,
                start: Start::Scaled(&self.softmax.rescale[queries]),
            });
        }
    }
}

/// The factor of queries that makes products with keys scores in units of `ln 2`, or what [`Softcap`] takes.
pub(crate) fn score_factor(shape: &AttentionShape<'_>) -> f32 {
    let spec = shape.spec();
    spec.softcap.map_or(spec.softmax_scale * LOG2_E, |softcap| spec.softmax_scale / softcap)
}

/// Scores of a block `[keys, width]` from queries `[padded_dim, width]`, capped or with their bias, and masked.
pub(crate) fn compute_scores(
    layout: &Layout<'_>,
    bias: Option<Bias<'_>>,
    tile: &Tile,
    block: &KeyBlock<'_>,
    visible: &Visible,
    q: &[f32],
    scores: &mut [f32],
) {
    multiply_keys(layout, tile.width(), visible, (block.k, block.k_stride), q, scores);
    transform_scores(layout, bias, tile, block, visible, scores);
}

/// Caps scores `[keys, width]` of a block or adds their bias, and masks them.
pub(crate) fn transform_scores(
    layout: &Layout<'_>,
    bias: Option<Bias<'_>>,
    tile: &Tile,
    block: &KeyBlock<'_>,
    visible: &Visible,
    scores: &mut [f32],
) {
    let (spec, width) = (layout.shape.spec(), tile.width());
    if let Some(softcap) = spec.softcap {
        layout.isa.run(Softcap { scores, softcap });
    }
    if let Some(bias) = bias {
        layout.isa.run(AddBias { scores, width, key_step: bias.key_step(), bias: bias.of(tile, block) });
    }
    if let Some(bounds) = &visible.bounds {
        layout.isa.run(Mask { scores, width, first: &bounds.first, end: &bounds.end });
    }
}

/// `out[j, i] = rows[j] . columns[:, i]` for the visible pairs, with `columns` `[padded_dim, width]`; the others keep
/// whatever they hold.
pub(crate) fn multiply_keys(
    layout: &Layout<'_>,
    width: usize,
    visible: &Visible,
    (rows, stride): (&[f32], usize),
    columns: &[f32],
    out: &mut [f32],
) {
    for Part { queries, keys } in visible.parts() {
        layout.isa.product(Product {
            rows: keys.len(),
            depth: layout.shape.spec().head_dim,
            cols: queries.len(),
            a: &rows[keys.start * stride..],
            a_row: stride,
            a_step: 1,
            b: &columns[queries.start..],
            b_row: width,
            out: &mut out[keys.start * width + queries.start..],
            out_row: width,
            start: Start::Zero,
        });
    }
}
