//! Tiles of `C`: panels that meet.

use std::ops::Range;

use super::blocks::Block;
use super::packed::Packed;
use crate::kernel::{Kernel, Side, Sums, Tile};
use crate::problem::{Addend, Problem};

/// Panels that meet.
pub(super) struct Part<'a, K: Kernel> {
    pub(super) group: &'a [Block<'a>],
    pub(super) own: &'a Packed<'a, K>,
    pub(super) others: &'a Packed<'a, K>,
    pub(super) waiting: Waiting,
}

/// The shared panels whose sums with each of the slab's wait for more depth.
pub(super) struct Waiting {
    pub(super) first: usize,
    /// None if a run completes them.
    pub(super) count: usize,
}

impl<K: Kernel> Part<'_, K> {
    /// The panels of `A` and of `B`.
    fn sides(&self) -> [&Packed<'_, K>; 2] {
        if self.own.panels.side == Side::A { [self.own, self.others] } else { [self.others, self.own] }
    }

    /// Where the sums of panels `i` of `A` and `j` of `B` wait, in tiles.
    fn place(&self, i: usize, j: usize) -> usize {
        let (own, other) = if self.own.panels.side == Side::A { (i, j) } else { (j, i) };
        let Waiting { first, count } = self.waiting;
        if count == 0 { 0 } else { own * count + self.others.range.start - first + other }
    }
}

/// The part of `C` where panels meet, over a run of blocks. The sums, tile after tile, stay in the second-level cache until they
/// are complete.
///
/// # Safety
/// `p.c` is valid, and nothing else accesses that part. Within a session of the kernel.
pub(super) unsafe fn multiply<K: Kernel>(kernel: K, p: &Problem, part: &Part<K>, run: Range<usize>, sums: &mut [f32]) {
    let (group, [a, b]) = (part.group, part.sides());
    let addend = if group[0].is_first { p.addend } else { Addend::of(p.c) };
    let scale = p.scale.filter(|_| group.last().is_some_and(|block| block.is_last));
    let [tile_rows, tile_cols] = K::PANEL;
    for_each_tile(a, b, |i, j| {
        let (rows, cols) = (a.panels.range(a.range.start + i), b.panels.range(b.range.start + j));
        let (next_i, next_j) = if K::STAYS == Side::A { (i, j + 1) } else { (i + 1, j) };
        let next_sums = sums.as_ptr().wrapping_add(part.place(next_i, next_j) * tile_rows * tile_cols);
        let values = &mut sums[part.place(i, j) * tile_rows * tile_cols..][..tile_rows * tile_cols];
        for (at, block) in run.clone().zip(&group[run.clone()]) {
            let tile = Tile {
                depth: block.depth.len(),
                a: a.panel(i, at, block).as_ptr(),
                b: b.panel(j, at, block).as_ptr(),
                dtypes: block.dtypes(),
                sums: values.as_mut_ptr(),
                next_sums,
                size: [rows.len(), cols.len()],
                accumulate: at > 0,
                next: ahead(kernel, a, b, [i, j], at, block),
            };
            // SAFETY: a session is the caller's, and the slices are as long as a panel and a tile are.
            unsafe { kernel.tile(&tile) };
        }
        if run.end == group.len() {
            let values = &values[..rows.len() * tile_cols];
            let (addend, c) = (addend.at(rows.start, cols.start), p.c.at(rows.start, cols.start));
            let sums = Sums { values, stride: tile_cols, cols: cols.len(), alpha: p.alpha, addend, c };
            // SAFETY: the panels' ranges are within `m` and `n`, and that part of `C` is the caller's to give.
            unsafe {
                kernel.write(&sums);
                if let Some(scale) = scale {
                    scale.apply(p.c, [rows.start, cols.start], [rows.len(), cols.len()]);
                }
            }
        }
    });
}

/// Calls `tile` for each pair of a panel of `A` and one of `B`. A panel of one operand stays in the first-level cache while
/// those of the other, which stay in the second-level cache, go by.
fn for_each_tile<K: Kernel>(a: &Packed<K>, b: &Packed<K>, mut tile: impl FnMut(usize, usize)) {
    let (rows, cols) = (0..a.range.len(), 0..b.range.len());
    match K::STAYS {
        Side::A => rows.for_each(|i| cols.clone().for_each(|j| tile(i, j))),
        Side::B => cols.for_each(|j| rows.clone().for_each(|i| tile(i, j))),
    }
}

/// What to fetch while panels `i` and `j` meet over a block: a part of the panel that stays next while the first ones pass, then
/// the panel that passes next.
fn ahead<K: Kernel>(
    kernel: K,
    a: &Packed<K>,
    b: &Packed<K>,
    [i, j]: [usize; 2],
    at: usize,
    block: &Block,
) -> *const K::Packed {
    let ((staying, s), (passing, t)) = if K::STAYS == Side::A { ((a, i), (b, j)) } else { ((b, j), (a, i)) };
    let part = t * block.depth.len() * kernel.ahead(block.dtypes());
    match part < block.sizes[K::STAYS as usize] {
        true => staying.address(s + 1, at).wrapping_add(part),
        false => passing.address(t + 1, at),
    }
}
