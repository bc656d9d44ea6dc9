//! The keys that a tile meets, block by block: the prefix, then those of its own sequence that the mask leaves.

use std::ops::Range;

use crate::tile::{Bounds, KEYS, Tile};
use crate::{AttentionShape, Prefix, TokenRows};

/// What both directions read.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) q: TokenRows<'a>,
    pub(crate) k: TokenRows<'a>,
    pub(crate) v: TokenRows<'a>,
    pub(crate) prefix: Option<Prefix<'a>>,
}

/// At most [`KEYS`] consecutive keys and values of one head.
pub(crate) struct KeyBlock<'a> {
    pub(crate) source: Source,
    /// Among the keys of the source.
    pub(crate) keys: Range<usize>,
    /// From the head's part of the first key on.
    pub(crate) k: &'a [f32],
    pub(crate) k_stride: usize,
    pub(crate) v: &'a [f32],
    pub(crate) v_stride: usize,
    /// Which rows of the tile see which keys; `None` if all see all.
    pub(crate) bounds: Option<Bounds>,
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Shared by all sequences.
    Prefix,
    /// Of the tile's sequence.
    Own,
}

/// The blocks that `tile` meets, in order. Blocks that no row sees are left out.
pub(crate) fn key_blocks<'a>(
    shape: &'a AttentionShape<'a>,
    operands: &Operands<'a>,
    tile: &Tile,
) -> impl Iterator<Item = KeyBlock<'a>> {
    let (tile, own) = (*tile, (operands.k, operands.v));
    let column = tile.kv_head * shape.spec().head_dim;
    let block =
        move |source, (k, v): (TokenRows<'a>, TokenRows<'a>), start: usize, keys: Range<usize>, bounds| KeyBlock {
            source,
            k: k.from(start + keys.start, column),
            k_stride: k.row_stride,
            v: v.from(start + keys.start, column),
            v_stride: v.row_stride,
            keys,
            bounds,
        };
    let prefix = operands.prefix.into_iter().flat_map(move |prefix| {
        let len = shape.prefix_len();
        (0..len)
            .step_by(KEYS)
            .map(move |key| block(Source::Prefix, (prefix.k, prefix.v), 0, key..len.min(key + KEYS), None))
    });
    prefix.chain(tile.key_blocks(shape).map(move |keys| {
        let bounds = tile.mask(shape, &keys);
        block(Source::Own, own, tile.sequence.kv_start, keys, bounds)
    }))
}
