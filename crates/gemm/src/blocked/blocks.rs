//! The depth of a sum of products in blocks.

use std::ops::Range;

use device::DType;

use super::SHARED_BYTES;
use crate::kernel::{Kernel, Side};
use crate::packed::PackedPanels;
use crate::panels::Panels;
use crate::problem::Term;

/// A part of the depth of one term.
pub(super) struct Block<'a> {
    pub(super) term: &'a Term<'a>,
    /// Whether what `C` is to start from is added here.
    pub(super) is_first: bool,
    /// Whether `C` is complete after this.
    pub(super) is_last: bool,
    pub(super) depth: Range<usize>,
    /// Packed elements of one panel of each side.
    pub(super) sizes: [usize; 2],
}

impl Block<'_> {
    pub(super) fn dtypes(&self) -> [DType; 2] {
        [Side::A, Side::B].map(|side| self.term.lines(side).values.dtype())
    }

    /// The panels of a side, if they were packed before this product.
    pub(super) fn packed_before<K: Kernel>(&self, side: Side) -> Option<&PackedPanels> {
        self.term.lines(side).packed_by::<K>(side)
    }

    /// Elements of a panel that this product packs.
    pub(super) fn size_to_pack<K: Kernel>(&self, side: Side) -> usize {
        if self.packed_before::<K>(side).is_some() { 0 } else { self.sizes[side as usize] }
    }
}

/// The depth of all terms, one after another, in blocks of nearly equal size.
pub(super) fn blocks<'a, K: Kernel>(kernel: K, terms: &'a [Term<'a>]) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    for term in terms {
        let count = term.k.div_ceil(kernel.block_depth([term.a.values.dtype(), term.b.values.dtype()]));
        let units = term.k.div_ceil(K::DEPTH_UNIT);
        let start = |block: usize| (units * block / count * K::DEPTH_UNIT).min(term.k);
        for block in 0..count {
            let depth = start(block)..start(block + 1);
            let padded = depth.len().next_multiple_of(K::DEPTH_UNIT);
            let sizes = [Side::A, Side::B].map(|side| padded * kernel.stride(side, term.lines(side).values.dtype()));
            blocks.push(Block { term, is_first: blocks.is_empty(), is_last: false, depth, sizes });
        }
    }
    if let Some(last) = blocks.last_mut() {
        last.is_last = true;
    }
    blocks
}

/// Elements of a panel that are packed over a group of blocks.
pub(super) fn pitch<K: Kernel>(group: &[Block], panels: Panels) -> usize {
    group.iter().map(|block| block.size_to_pack::<K>(panels.side)).sum()
}

/// How many of the blocks are packed at a time.
pub(super) fn packed_together<K: Kernel>(blocks: &[Block], shared: Panels) -> usize {
    let room = SHARED_BYTES / size_of::<K::Packed>() / shared.count;
    let fits = |taken: &mut usize, block: &Block| {
        *taken += block.size_to_pack::<K>(shared.side);
        Some(*taken <= room)
    };
    blocks.iter().scan(0, fits).take_while(|&fits| fits).count().max(1)
}

/// The blocks of a group in runs, each of which a tile sums from its first to its last block: as many as a panel that
/// stays in the first-level cache has room for.
pub(super) fn runs<K: Kernel>(group: &[Block]) -> Vec<Range<usize>> {
    let room = K::STAYING_BYTES / size_of::<K::Packed>();
    let (mut runs, mut start) = (Vec::new(), 0);
    while start < group.len() {
        let fits = |taken: &mut usize, block: &Block| {
            *taken += block.sizes[K::STAYS as usize];
            Some(*taken <= room)
        };
        let count = group[start..].iter().scan(0, fits).take_while(|&fits| fits).count().max(1);
        runs.push(start..start + count);
        start += count;
    }
    runs
}
