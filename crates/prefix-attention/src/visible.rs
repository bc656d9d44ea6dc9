//! Which queries of a tile see which keys of a block.

use std::ops::Range;

use crate::AttentionShape;
use crate::blocks::{KeyBlock, Source};
use crate::tile::{ROWS, Tile};

/// Queries that a product takes at a time where the mask cuts through a block: half of a tile, so that of the blocks on
/// the diagonal a quarter is left out, in tiles that still fill the registers.
const QUERIES: usize = ROWS / 2;

/// The pairs of a tile and a block that the mask leaves.
pub(crate) struct Visible {
    /// `None` if every query sees every key.
    pub(crate) bounds: Option<Bounds>,
    rows: usize,
    width: usize,
    keys: usize,
}

/// By query, the keys that it sees, relative to the block's first: `first..end`. Both ascend.
pub(crate) struct Bounds {
    pub(crate) first: [i32; ROWS],
    pub(crate) end: [i32; ROWS],
}

/// Queries, and the keys that any of them sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Columns of a score block, whole registers.
    pub(crate) queries: Range<usize>,
    /// Rows of a score block.
    pub(crate) keys: Range<usize>,
}

impl Visible {
    pub(crate) fn new(shape: &AttentionShape<'_>, tile: &Tile, block: &KeyBlock<'_>) -> Self {
        let keys = &block.keys;
        let all = tile.visible_to(shape, tile.rows - 1).start..tile.visible_to(shape, 0).end;
        let whole = block.source == Source::Prefix || all.start <= keys.start && keys.end <= all.end;
        let bounds = (!whole).then(|| {
            let mut bounds = Bounds { first: [0; ROWS], end: [0; ROWS] };
            let relative = |key: usize| key.saturating_sub(keys.start).min(keys.len()) as i32;
            for row in 0..tile.rows {
                let visible = tile.visible_to(shape, row);
                (bounds.first[row], bounds.end[row]) = (relative(visible.start), relative(visible.end));
            }
            bounds
        });
        Self { bounds, rows: tile.rows, width: tile.width(), keys: keys.len() }
    }

    /// Keys of the block.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// Parts that hold every visible pair.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        let queries = if self.bounds.is_some() { QUERIES } else { ROWS };
        (0..self.rows).step_by(queries).filter_map(move |start| {
            let (queries, last) = (start..self.width.min(start + queries), self.rows.min(start + queries) - 1);
            let keys = match &self.bounds {
                None => 0..self.keys,
                Some(bounds) => bounds.first[start] as usize..bounds.end[last] as usize,
            };
            (!keys.is_empty()).then_some(Part { queries, keys })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttentionSpec;
    use crate::TokenRows;
    use crate::blocks::{Operands, key_blocks};
    use crate::tile::tiles;

    /// The parts of the first tile of a sequence of 100 tokens with each of its blocks.
    fn parts(window: Option<usize>) -> Vec<Vec<Part>> {
        let spec = AttentionSpec {
            num_heads: 1,
            num_kv_heads: 1,
            head_dim: 1,
            softmax_scale: 1.0,
            causal: true,
            window,
            softcap: None,
        };
        let starts = [0, 100];
        let shape = AttentionShape::new(spec, &starts, &starts, 0).unwrap();
        let values = [0.0; 100];
        let rows = TokenRows::contiguous(&values, 1);
        let operands = Operands { q: rows, k: rows, v: rows, prefix: None, bias: None };
        let tile = tiles(shape.sequence(0), 0, 0..100)[1];
        key_blocks(&shape, &operands, &[tile])
            .map(|block| Visible::new(&shape, &tile, &block).parts().collect())
            .collect()
    }

    #[test]
    fn what_no_query_of_a_half_sees_is_left_out() {
        // Queries 64..100: all see the first block; of the second, those up to 95 see the keys up to 95.
        let part = |queries, keys| Part { queries, keys };
        assert_eq!(parts(None), [vec![part(0..48, 0..64)], vec![part(0..32, 0..32), part(32..48, 0..36)]]);
        // Query 64 sees keys 63 and 64: of the first block the last.
        assert_eq!(parts(Some(2)), [vec![part(0..32, 63..64)], vec![part(0..32, 0..32), part(32..48, 31..36)]]);
    }
}
