//! The keys that queries meet, block by block: the prefix, then those of their own sequence that the mask leaves.

use std::ops::Range;

use crate::isa::prefetch;
use crate::relative_bias::Bias;
use crate::spec::Sequence;
use crate::tile::{KEYS, Tile};
use crate::{AttentionShape, Prefix, TokenRows};

/// What both directions read.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) q: TokenRows<'a>,
    pub(crate) k: TokenRows<'a>,
    pub(crate) v: TokenRows<'a>,
    pub(crate) prefix: Option<Prefix<'a>>,
    pub(crate) bias: Option<Bias<'a>>,
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Shared by all sequences, visible to every query.
    Prefix,
    /// Of the queries' own sequence.
    Own,
}

/// At most [`KEYS`] consecutive keys and values of one head.
#[derive(Clone)]
pub(crate) struct KeyBlock<'a> {
    pub(crate) source: Source,
    /// Among the keys of the source.
    pub(crate) keys: Range<usize>,
    /// From the head's part of the first key on.
    pub(crate) k: &'a [f32],
    pub(crate) k_stride: usize,
    pub(crate) v: &'a [f32],
    pub(crate) v_stride: usize,
    /// Elements of a key, and of a value.
    pub(crate) row_len: usize,
}

impl<'a> KeyBlock<'a> {
    /// Hints that part `index` of `count` is read after a while: the machine foresees no rows that lie far apart.
    pub(crate) fn prefetch(&self, index: usize, count: usize) {
        let keys = self.keys.len();
        for key in index * keys / count..(index + 1) * keys / count {
            prefetch(&self.k[key * self.k_stride..][..self.row_len]);
            prefetch(&self.v[key * self.v_stride..][..self.row_len]);
        }
    }

    /// The keys of the block that some row of `tile` sees, if there are any.
    pub(crate) fn visible_to(&self, shape: &AttentionShape<'_>, tile: &Tile) -> Option<Self> {
        if self.source == Source::Prefix {
            return Some(self.clone());
        }
        let visible = tile.visible(shape);
        let keys = self.keys.start.max(visible.start)..self.keys.end.min(visible.end);
        let skipped = keys.start - self.keys.start;
        (keys.start < keys.end).then(|| Self {
            keys,
            k: &self.k[skipped * self.k_stride..],
            v: &self.v[skipped * self.v_stride..],
            ..*self
        })
    }
}

/// The blocks that the rows of `tiles`, consecutive ones of one sequence and head, meet, in order, with what none of them sees of a
/// block. Blocks that none of them sees are left out.
pub(crate) fn key_blocks<'a>(
    shape: &'a AttentionShape<'a>,
    operands: &Operands<'a>,
    tiles: &[Tile],
) -> impl Iterator<Item = KeyBlock<'a>> + use<'a> {
    let (first, last) = (tiles[0], tiles[tiles.len() - 1]);
    let own = (operands.k, operands.v);
    let column = first.kv_head * shape.spec().head_dim;
    let block = move |source, (k, v): (TokenRows<'a>, TokenRows<'a>), start: usize, keys: Range<usize>| KeyBlock {
        source,
        k: k.from(start + keys.start, column),
        k_stride: k.row_stride,
        v: v.from(start + keys.start, column),
        v_stride: v.row_stride,
        row_len: shape.spec().head_dim,
        keys,
    };
    let prefix = operands.prefix.into_iter().flat_map(move |prefix| {
        let keys = aligned(0..shape.prefix_len(), shape.prefix_len());
        keys.map(move |keys| block(Source::Prefix, (prefix.k, prefix.v), 0, keys))
    });
    let Sequence { kv_start, kv_len, .. } = first.sequence;
    let visible = first.visible(shape).start..last.visible(shape).end;
    prefix.chain(aligned(visible, kv_len).map(move |keys| block(Source::Own, own, kv_start, keys)))
}

/// `0..len` cut at the multiples of [`KEYS`], as far as it meets `range`. So a block is the same whichever tiles ask for it.
fn aligned(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    (range.start / KEYS * KEYS..range.end).step_by(KEYS).map(move |key| key..len.min(key + KEYS))
}
