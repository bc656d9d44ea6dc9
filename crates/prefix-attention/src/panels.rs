//! Panels of [`crate::pieces`] from the keys and values of a block, and the products of a block and a tile of queries.

use std::ops::Range;

use crate::isa::TileSession;
use crate::pieces::{DEPTH, LINES, PackRows, TileProduct, chunk_words};
use crate::tile::Layout;
use crate::transpose::Transpose;
use crate::visible::{Part, Visible};

/// Packs `count` rows of a head, from the first one and rows `stride` apart, as lines: rows `[count, padded_dim]`. `staging` holds as
/// many.
pub(crate) fn pack_rows<const PIECES: usize>(
    layout: &Layout<'_>,
    rows: (&[f32], usize),
    count: usize,
    staging: &mut [f32],
    out: &mut [u32],
) {
    let lines = count.next_multiple_of(DEPTH);
    let (from, from_row) = padded_rows(layout, rows, count, staging);
    layout.isa.run(PackRows::<PIECES> { from, from_row, lines, depth: layout.padded_dim, out });
}

/// As [`pack_rows`], with a line for each element of a row: rows `[padded_dim, count]`.
pub(crate) fn pack_transposed<const PIECES: usize>(
    layout: &Layout<'_>,
    rows: (&[f32], usize),
    count: usize,
    [staging, columns]: [&mut [f32]; 2],
    out: &mut [u32],
) {
    let (depth, lines) = (count.next_multiple_of(DEPTH), layout.padded_dim);
    let (from, from_row) = padded_rows(layout, rows, count, staging);
    layout.isa.transpose(Transpose { rows: depth, cols: lines, from, from_row, out_row: depth }, columns);
    layout.isa.run(PackRows::<PIECES> { from: columns, from_row: depth, lines, depth, out });
}

/// `out[j, i] = rows[j] . columns[:, i]`, `[keys, width]`, for the visible pairs and for some beside them: of rows
/// `[keys, padded_dim]` and columns `[padded_dim, width]`.
pub(crate) fn multiply_keys<const PIECES: usize>(
    layout: &Layout<'_>,
    session: &TileSession,
    width: usize,
    visible: &Visible,
    [rows, columns]: [&[u32]; 2],
    out: &mut [f32],
) {
    let chunks = layout.padded_dim / DEPTH;
    let panel = |index: usize| index * chunks * chunk_words(PIECES);
    for (col, cols, keys) in visible_columns(visible) {
        for key_panel in keys.start / LINES..keys.end.div_ceil(LINES) {
            session.multiply(TileProduct::<PIECES> {
                a: &rows[panel(key_panel)..],
                b: &columns[panel(col / LINES)..],
                chunks,
                out: &mut out[key_panel * LINES * width + col..],
                out_row: width,
                cols,
                adds: false,
            });
        }
    }
}

/// `out[:, i] += sum_j rows[:, j] columns[j, i]`, `[padded_dim, width]`, over the keys that [`multiply_keys`] takes: of rows
/// `[padded_dim, keys]` and columns `[keys, width]`.
pub(crate) fn add_values<const PIECES: usize>(
    layout: &Layout<'_>,
    session: &TileSession,
    width: usize,
    visible: &Visible,
    [rows, columns]: [&[u32]; 2],
    out: &mut [f32],
) {
    let chunks_of_block = visible.keys().div_ceil(DEPTH);
    let part = |panel: usize, chunk: usize| (panel * chunks_of_block + chunk) * chunk_words(PIECES);
    for (col, cols, keys) in visible_columns(visible) {
        let chunks = keys.start / DEPTH..keys.end.div_ceil(DEPTH);
        for panel in 0..layout.padded_dim / LINES {
            session.multiply(TileProduct::<PIECES> {
                a: &rows[part(panel, chunks.start)..],
                b: &columns[part(col / LINES, chunks.start)..],
                chunks: chunks.len(),
                out: &mut out[panel * LINES * width + col..],
                out_row: width,
                cols,
                adds: true,
            });
        }
    }
}

/// The columns of products that hold every visible pair: the first, how many, and the keys that they see.
fn visible_columns(visible: &Visible) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    visible.parts().flat_map(|Part { queries, keys }| {
        queries.clone().step_by(LINES).map(move |col| (col, LINES.min(queries.end - col), keys.clone()))
    })
}

/// `count` rows of a head with zeros behind and below, `[whole chunks, padded_dim]`: themselves, `stride` apart, where none are
/// missing, else copied to `to`.
fn padded_rows<'a>(
    layout: &Layout<'_>,
    (from, stride): (&'a [f32], usize),
    count: usize,
    to: &'a mut [f32],
) -> (&'a [f32], usize) {
    let (len, padded_len, padded_count) =
        (layout.shape.spec().head_dim, layout.padded_dim, count.next_multiple_of(DEPTH));
    if [count, len] == [padded_count, padded_len] {
        return (from, stride);
    }
    let (copied, rest) = to[..padded_count * padded_len].split_at_mut(count * padded_len);
    for (to, from) in copied.chunks_exact_mut(padded_len).zip(from.chunks(stride)) {
        to[..len].copy_from_slice(&from[..len]);
        to[len..].fill(0.0);
    }
    rest.fill(0.0);
    (to, padded_len)
}

/// Memory for words, where it was allocated for f32.
pub(crate) fn words(memory: &mut [f32]) -> &mut [u32] {
    bytemuck::cast_slice_mut(memory)
}
