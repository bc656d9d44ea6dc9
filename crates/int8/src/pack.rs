//! Packing of weights: panels of 32 columns, in groups of four depths as the instructions take them.
//!
//! A chunk of 64 depths is two tiles of 1024 bytes, of 16 columns each. A tile has a row for each group of four depths, and
//! in it the four codes of each column side by side.

use device::simd::{Isa, Kernel};

/// Columns of a panel.
pub(crate) const COLS: usize = 32;
/// Columns of a tile.
pub(crate) const TILE_COLS: usize = 16;
/// Depths of a chunk.
pub(crate) const CHUNK: usize = 64;
/// Depths of a group.
const GROUP: usize = 4;
/// Bytes of a chunk of a panel.
pub(crate) const CHUNK_BYTES: usize = COLS * CHUNK;

/// The matrix that a product reads columns of.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) codes: &'a [i8],
    /// From row to row of the codes.
    pub(crate) stride: usize,
    /// Whether columns of the product are rows of the codes.
    pub(crate) transposed: bool,
    pub(crate) depth: usize,
    pub(crate) cols: usize,
}

/// Packs the panel that starts at column `first`. What is missing to 32 columns and to whole chunks is zero.
pub(crate) struct Pack<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) first: usize,
    /// [`CHUNK_BYTES`] for each chunk of depth.
    pub(crate) out: &'a mut [i8],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { source, first, out } = self;
        for (chunk, out) in out.chunks_exact_mut(CHUNK_BYTES).enumerate() {
            for (half, tile) in out.chunks_exact_mut(CHUNK_BYTES / 2).enumerate() {
                let first = first + half * TILE_COLS;
                let (depth, first) = (chunk * CHUNK, first.min(source.cols));
                let is_whole = depth + CHUNK <= source.depth && first + TILE_COLS <= source.cols;
                match (source.transposed, is_whole) {
                    (true, true) => from_rows(source, first, depth, tile),
                    (false, true) => from_columns(source, first, depth, tile),
                    _ => from_edge(source, first, depth, tile),
                }
            }
        }
    }
}

/// A tile whose columns are rows of the codes: words of four depths change places.
#[inline(always)]
fn from_rows(source: Source<'_>, first: usize, depth: usize, tile: &mut [i8]) {
    for col in 0..TILE_COLS {
        let line = &source.codes[(first + col) * source.stride + depth..][..CHUNK];
        for (row, word) in tile.chunks_exact_mut(TILE_COLS * GROUP).zip(line.chunks_exact(GROUP)) {
            row[col * GROUP..][..GROUP].copy_from_slice(word);
        }
    }
}

/// A tile whose depths are rows of the codes: four rows are interleaved.
#[inline(always)]
fn from_columns(source: Source<'_>, first: usize, depth: usize, tile: &mut [i8]) {
    for (group, row) in tile.chunks_exact_mut(TILE_COLS * GROUP).enumerate() {
        let lines: [&[i8; TILE_COLS]; GROUP] = std::array::from_fn(|i| {
            let start = (depth + group * GROUP + i) * source.stride + first;
            source.codes[start..].first_chunk().expect("the tile lies within the codes")
        });
        for col in 0..TILE_COLS {
            for i in 0..GROUP {
                row[col * GROUP + i] = lines[i][col];
            }
        }
    }
}

/// A tile that is not all there.
#[inline(always)]
fn from_edge(source: Source<'_>, first: usize, depth: usize, tile: &mut [i8]) {
    tile.fill(0);
    for col in 0..TILE_COLS.min(source.cols - first) {
        for k in 0..CHUNK.min(source.depth.saturating_sub(depth)) {
            let (col_of_all, depth) = (first + col, depth + k);
            let (row, element) = if source.transposed { (col_of_all, depth) } else { (depth, col_of_all) };
            tile[k / GROUP * TILE_COLS * GROUP + col * GROUP + k % GROUP] = source.codes[row * source.stride + element];
        }
    }
}

/// Adds up the columns of a packed panel.
pub(crate) struct ColumnSums<'a> {
    pub(crate) packed: &'a [i8],
    pub(crate) sums: &'a mut [i32; COLS],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        *self.sums = [0; COLS];
        for chunk in self.packed.chunks_exact(CHUNK_BYTES) {
            for (half, tile) in chunk.chunks_exact(CHUNK_BYTES / 2).enumerate() {
                for row in tile.chunks_exact(TILE_COLS * GROUP) {
                    for (sum, word) in self.sums[half * TILE_COLS..].iter_mut().zip(row.as_chunks::<GROUP>().0) {
                        *sum += word.iter().map(|&code| i32::from(code)).sum::<i32>();
                    }
                }
            }
        }
    }
}
