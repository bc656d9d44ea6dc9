//! Packed panels of one side, and how they are packed together.

use std::ops::Range;

use super::blocks::{Block, pitch};
use crate::GemmError;
use crate::kernel::Kernel;
use crate::panels::Panels;

/// Consecutive packed panels of one side, over consecutive blocks of a group.
pub(super) struct Packed<'a, K: Kernel> {
    pub(super) panels: Panels,
    pub(super) range: Range<usize>,
    /// Number of the first of the blocks in the group.
    first: usize,
    /// Where the first panel starts in each block, and from panel to panel.
    blocks: Vec<(&'a [K::Packed], usize)>,
}

impl<'a, K: Kernel> Packed<'a, K> {
    /// The panels of `range` over `blocks`, of which `data` has what was not packed before: panel after panel, block after block.
    pub(super) fn new(
        (first, blocks): (usize, &'a [Block]),
        panels: Panels,
        range: Range<usize>,
        data: &'a [K::Packed],
    ) -> Result<Self, GemmError> {
        let (side, pitch) = (panels.side, pitch::<K>(blocks, panels));
        let mut rest = data;
        let locate = |block: &'a Block| match block.packed_before::<K>(side) {
            Some(before) => Ok((before.from::<K>(range.start, block.depth.start)?, before.pitch())),
            None => {
                let start = rest;
                rest = &rest[block.sizes[side as usize]..];
                Ok((start, pitch))
            }
        };
        let blocks = blocks.iter().map(locate).collect::<Result<_, GemmError>>()?;
        Ok(Self { panels, range, first, blocks })
    }

    /// Panel `index` of the range in block number `at` of the group.
    pub(super) fn panel(&self, index: usize, at: usize, block: &Block) -> &[K::Packed] {
        let (data, pitch) = self.blocks[at - self.first];
        &data[index * pitch..][..block.sizes[self.panels.side as usize]]
    }

    /// Where that panel is, if there is one.
    pub(super) fn address(&self, index: usize, at: usize) -> *const K::Packed {
        let (data, pitch) = self.blocks[at - self.first];
        data.as_ptr().wrapping_add(index * pitch)
    }
}

/// Packs what of consecutive panels was not packed before, over consecutive blocks.
pub(super) fn pack_panels<K: Kernel>(
    kernel: K,
    blocks: &[Block],
    panels: Panels,
    range: Range<usize>,
    out: &mut [K::Packed],
) {
    let pitch = pitch::<K>(blocks, panels);
    let mut start = 0;
    for block in blocks.iter().filter(|block| block.packed_before::<K>(panels.side).is_none()) {
        let lines = block.term.lines(panels.side);
        panels.pack_together(kernel, lines, range.clone(), block.depth.clone(), (&mut out[start..], pitch));
        start += block.sizes[panels.side as usize];
    }
}
