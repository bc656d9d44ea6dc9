//! Sequences with many queries: tiles of [`ROWS`] queries, a register lane each.

use std::f32::consts::LOG2_E;

use rayon::prelude::*;

use super::Results;
use crate::blocks::{KeyBlock, Operands, key_blocks};
use crate::product::{Product, Start};
use crate::scores::{Absorb, Mask, Softcap, Softmax};
use crate::spec::Sequence;
use crate::tile::{KEYS, Layout, ROWS, Tile, tiles};
use crate::workspace::{Workspaces, carve};
use crate::{AttentionError, AttentionShape};

pub(super) fn forward(
    layout: &Layout<'_>,
    operands: &Operands<'_>,
    sequences: &[Sequence],
    results: &Results<'_>,
) -> Result<(), AttentionError> {
    let mut all = Vec::new();
    for &sequence in sequences {
        let rows = sequence.q_len * layout.shape.group();
        for kv_head in 0..layout.shape.spec().num_kv_heads {
            all.extend(tiles(sequence, kv_head, 0..rows));
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let workspaces = Workspaces::new(Working::len(layout))?;
    all.into_par_iter().with_max_len(1).for_each(|tile| {
        workspaces.with(|memory| {
            let mut working = Working::carve(layout, memory);
            let softmax = working.attend(layout, operands, &tile);
            working.finish(layout, &tile, &softmax, results);
        });
    });
    Ok(())
}

/// What one tile works in.
struct Working<'a> {
    /// `[width, padded_dim]`: a staging place for rows.
    rows: &'a mut [f32],
    /// `[padded_dim, width]`: queries.
    q: &'a mut [f32],
    /// `[padded_dim, width]`: the result so far.
    o: &'a mut [f32],
    /// `[keys, width]`.
    scores: &'a mut [f32],
    /// Two of `[keys, head_dim]`.
    packed: &'a mut [f32],
}

impl<'a> Working<'a> {
    fn len(layout: &Layout<'_>) -> usize {
        ROWS * (3 * layout.padded_dim + KEYS) + layout.packed_len()
    }

    fn carve(layout: &Layout<'_>, mut memory: &'a mut [f32]) -> Self {
        let mut part = |len| carve(&mut memory, len);
        let dim = layout.padded_dim;
        Self {
            rows: part(ROWS * dim),
            q: part(ROWS * dim),
            o: part(ROWS * dim),
            scores: part(ROWS * KEYS),
            packed: part(layout.packed_len()),
        }
    }

    /// Accumulates `sum_j 2^(s_ij - max_i) v_j` in `o`.
    fn attend(&mut self, layout: &Layout<'_>, operands: &Operands<'_>, tile: &Tile) -> Softmax {
        let (isa, width) = (layout.isa, tile.width());
        let rows = &mut self.rows[..width * layout.padded_dim];
        layout.gather(tile, operands.q, score_factor(layout.shape), rows);
        layout.rows_to_columns(tile, rows, self.q);
        let mut softmax = Softmax::new();
        let mut start = true;
        for block in key_blocks(layout.shape, operands, tile) {
            let block = layout.pack(block, self.packed);
            let scores = &mut self.scores[..block.keys.len() * width];
            compute_scores(layout, tile, &block, self.q, scores);
            isa.run(Absorb { scores, width, softmax: &mut softmax });
            isa.product(Product {
                rows: layout.shape.spec().head_dim,
                depth: block.keys.len(),
                cols: width,
                a: block.v,
                a_row: 1,
                a_step: block.v_stride,
                b: scores,
                b_row: width,
                out: self.o,
                out_row: width,
                start: if start { Start::Zero } else { Start::Scaled(&softmax.rescale) },
            });
            start = false;
        }
        if start {
            self.o.fill(0.0);
        }
        softmax
    }

    /// Divides by the sum and writes the rows where they belong.
    fn finish(&mut self, layout: &Layout<'_>, tile: &Tile, softmax: &Softmax, results: &Results<'_>) {
        layout.columns_to_rows(tile, self.o, self.rows);
        for (r, row) in self.rows.chunks_exact(layout.padded_dim).take(tile.rows).enumerate() {
            // SAFETY: every (token, head) is one row of one tile.
            unsafe { results.write(tile.token_and_head(layout.shape, r), softmax.max[r], softmax.sum[r], row) };
        }
    }
}

/// The factor of queries that makes products with keys scores in units of `ln 2`, or what [`Softcap`] takes.
pub(crate) fn score_factor(shape: &AttentionShape<'_>) -> f32 {
    let spec = shape.spec();
    spec.softcap.map_or(spec.softmax_scale * LOG2_E, |softcap| spec.softmax_scale / softcap)
}

/// Scores of a block `[keys, width]` from queries `[padded_dim, width]`, capped and masked.
pub(crate) fn compute_scores(layout: &Layout<'_>, tile: &Tile, block: &KeyBlock<'_>, q: &[f32], scores: &mut [f32]) {
    let (isa, width, spec) = (layout.isa, tile.width(), layout.shape.spec());
    isa.product(Product {
        rows: block.keys.len(),
        depth: spec.head_dim,
        cols: width,
        a: block.k,
        a_row: block.k_stride,
        a_step: 1,
        b: q,
        b_row: width,
        out: scores,
        out_row: width,
        start: Start::Zero,
    });
    if let Some(softcap) = spec.softcap {
        isa.run(Softcap { scores, softcap });
    }
    if let Some(bounds) = &block.bounds {
        isa.run(Mask { scores, width, first: &bounds.first, end: &bounds.end });
    }
}
