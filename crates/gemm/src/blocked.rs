//! The blocked product: both operands in packed panels, `C` in slabs that threads own.
//!
//! The operand along the shorter side of `C` is packed once and shared by all threads. The longer side is cut into slabs;
//! whoever takes a slab packs the other operand's part of it, so each operand is packed once per call. The depth runs by in
//! blocks while a part of `C` is summed in one core's cache, and complete sums are written once.
//!
//! An element of `C` is summed by one thread, block of depth after block of depth. The blocks depend on sizes alone, so the
//! split over threads cannot change a bit.

use std::ops::Range;

use rayon::prelude::*;

use crate::GemmError;
use crate::kernel::{Kernel, Side, Sums, Tile};
use crate::packed::PackedPanels;
use crate::panels::{Panels, scratch};
use crate::problem::{Addend, Problem, Term, in_slabs};

/// Bytes of the shared operand that are packed at a time, unless a single block of depth is more.
pub(crate) const SHARED_BYTES: usize = 8 << 20;

/// A part of the depth of one term.
struct Block<'a> {
    term: &'a Term<'a>,
    /// Whether what `C` is to start from is added here.
    is_first: bool,
    /// Whether `C` is complete after this.
    is_last: bool,
    depth: Range<usize>,
    /// Packed elements of one panel of each side.
    sizes: [usize; 2],
}

impl Block<'_> {
    /// The panels of a side, if they were packed before this product.
    fn packed_before<K: Kernel>(&self, side: Side) -> Option<&PackedPanels> {
        self.term.lines(side).packed_by::<K>(side)
    }

    /// Elements of a panel that this product packs.
    fn size_to_pack<K: Kernel>(&self, side: Side) -> usize {
        if self.packed_before::<K>(side).is_some() { 0 } else { self.sizes[side as usize] }
    }
}

/// The depth of all terms, one after another, in blocks of nearly equal size.
fn blocks<'a, K: Kernel>(kernel: K, terms: &'a [Term<'a>]) -> Vec<Block<'a>> {
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

/// Consecutive packed panels of one side, over a group of blocks.
struct Packed<'a, K: Kernel> {
    panels: Panels,
    range: Range<usize>,
    /// Where the first panel starts in each block, and from panel to panel.
    blocks: Vec<(&'a [K::Packed], usize)>,
}

impl<'a, K: Kernel> Packed<'a, K> {
    /// The panels of `range`, of which `data` has what was not packed before: panel after panel, block after block of depth.
    fn new(group: &'a [Block], panels: Panels, range: Range<usize>, data: &'a [K::Packed]) -> Result<Self, GemmError> {
        let (side, pitch) = (panels.side, pitch::<K>(group, panels));
        let mut rest = data;
        let locate = |block: &'a Block| match block.packed_before::<K>(side) {
            Some(before) => Ok((before.from::<K>(range.start, block.depth.start)?, before.pitch())),
            None => {
                let start = rest;
                rest = &rest[block.sizes[side as usize]..];
                Ok((start, pitch))
            }
        };
        let blocks = group.iter().map(locate).collect::<Result<_, GemmError>>()?;
        Ok(Self { panels, range, blocks })
    }

    /// Panel `index` of the range in block number `at` of the group.
    fn panel(&self, index: usize, at: usize, block: &Block) -> &[K::Packed] {
        let (data, pitch) = self.blocks[at];
        &data[index * pitch..][..block.sizes[self.panels.side as usize]]
    }

    /// Where that panel is, if there is one.
    fn address(&self, index: usize, at: usize) -> *const K::Packed {
        let (data, pitch) = self.blocks[at];
        data.as_ptr().wrapping_add(index * pitch)
    }
}

/// Elements of a panel that are packed over a group of blocks.
fn pitch<K: Kernel>(group: &[Block], panels: Panels) -> usize {
    group.iter().map(|block| block.size_to_pack::<K>(panels.side)).sum()
}

/// How many of the blocks are packed at a time.
fn packed_together<K: Kernel>(blocks: &[Block], shared: Panels) -> usize {
    let room = SHARED_BYTES / size_of::<K::Packed>() / shared.count;
    let fits = |taken: &mut usize, block: &Block| {
        *taken += block.size_to_pack::<K>(shared.side);
        Some(*taken <= room)
    };
    blocks.iter().scan(0, fits).take_while(|&fits| fits).count().max(1)
}

/// The sides of `C`: the one whose panels all threads share, and the one that they own slabs of.
fn sides<K: Kernel>(p: &Problem) -> (Panels, Panels) {
    let (rows, cols) = (Panels::new::<K>(Side::A, p.m), Panels::new::<K>(Side::B, p.n));
    if p.m <= p.n { (rows, cols) } else { (cols, rows) }
}

/// Whether `C` is written once, by sums over the whole depth.
pub(crate) fn is_single_pass<K: Kernel>(kernel: K, p: &Problem) -> bool {
    let blocks = blocks(kernel, p.terms);
    packed_together::<K>(&blocks, sides::<K>(p).0) == blocks.len()
}

/// Computes the product.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile; it is f32 unless there is nothing in
/// it to add to and [`is_single_pass`].
pub(crate) unsafe fn run<K: Kernel>(kernel: K, p: &Problem) -> Result<(), GemmError> {
    let (shared, owned) = sides::<K>(p);
    let blocks = blocks(kernel, p.terms);
    let mut rest = &blocks[..];
    while !rest.is_empty() {
        let (group, later) = rest.split_at(packed_together::<K>(rest, shared));
        // SAFETY: the caller's.
        unsafe { run_group(kernel, p, group, shared, owned)? };
        rest = later;
    }
    Ok(())
}

/// Adds the products over a group of blocks, whose shared operand is packed at a time.
///
/// # Safety
/// As for [`run`].
unsafe fn run_group<K: Kernel>(
    kernel: K,
    p: &Problem,
    group: &[Block],
    shared: Panels,
    owned: Panels,
) -> Result<(), GemmError> {
    // Of no length where all was packed before.
    let chunk = |panels| pitch::<K>(group, panels).max(1);
    let mut packed = scratch::<K::Packed>(shared.count * pitch::<K>(group, shared))?;
    let packed = packed.as_mut_slice::<K::Packed>()?;
    let pack = |(panel, out): (usize, &mut [K::Packed])| pack_panel(kernel, group, shared, panel, out);
    if p.parts() == 1 {
        packed.chunks_exact_mut(chunk(shared)).enumerate().for_each(pack);
    } else {
        packed.par_chunks_exact_mut(chunk(shared)).enumerate().for_each(pack);
    }
    let packed = &*packed;
    in_slabs(owned.count, p.parts(), |slab| {
        let [most, others_at_a_time] = [owned, shared].map(|panels| K::BLOCK_PANELS[panels.side as usize]);
        // Where few others pass, less is packed ahead.
        let at_a_time = most.min(shared.count);
        let mut local = scratch::<K::Packed>(slab.len().min(at_a_time) * pitch::<K>(group, owned))?;
        let local = local.as_mut_slice::<K::Packed>()?;
        let mut sums = scratch::<f32>(K::BLOCK_PANELS[0] * K::BLOCK_PANELS[1] * K::PANEL[0] * K::PANEL[1])?;
        let sums = sums.f32_mut()?;
        kernel.session(|| {
            for range in ranges(slab, at_a_time) {
                for (panel, out) in range.clone().zip(local.chunks_exact_mut(chunk(owned))) {
                    pack_panel(kernel, group, owned, panel, out);
                }
                let own = Packed::new(group, owned, range, local)?;
                for others in ranges(0..shared.count, others_at_a_time) {
                    let data = &packed[others.start * pitch::<K>(group, shared)..];
                    let others = Packed::new(group, shared, others, data)?;
                    let (a, b) = if owned.side == Side::A { (&own, &others) } else { (&others, &own) };
                    // SAFETY: panels of this slab are packed by nobody else, so neither are its elements of `C` written.
                    unsafe { multiply(kernel, p, group, a, b, sums) };
                }
            }
            Ok(())
        })
    })
}

/// Consecutive parts of `range` of at most `len`.
fn ranges(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(len).map(move |start| start..range.end.min(start + len))
}

/// Packs what of one panel was not packed before, over a group of blocks.
fn pack_panel<K: Kernel>(kernel: K, group: &[Block], panels: Panels, panel: usize, mut out: &mut [K::Packed]) {
    for block in group {
        let (now, later) = out.split_at_mut(block.size_to_pack::<K>(panels.side));
        if !now.is_empty() {
            panels.pack(kernel, block.term.lines(panels.side), panel, block.depth.clone(), now);
        }
        out = later;
    }
}

/// The blocks of a group in runs, each of which a tile sums from its first to its last block: as many as a panel that
/// stays in the first-level cache has room for.
fn runs<'a, 'b, K: Kernel>(group: &'a [Block<'b>]) -> impl Iterator<Item = &'a [Block<'b>]> {
    let room = K::STAYING_BYTES / size_of::<K::Packed>();
    let mut rest = group;
    std::iter::from_fn(move || {
        let fits = |taken: &mut usize, block: &Block| {
            *taken += block.sizes[K::STAYS as usize];
            Some(*taken <= room)
        };
        let count = rest.iter().scan(0, fits).take_while(|&fits| fits).count().max(1).min(rest.len());
        let (blocks, later) = rest.split_at(count);
        rest = later;
        (count > 0).then_some(blocks)
    })
}

/// The part of `C` where panels of `a` meet panels of `b`, over a group of blocks. The sums, tile after tile, stay in the
/// second-level cache until they are complete.
///
/// # Safety
/// `p.c` is valid, and nothing else accesses that part. Within a session of the kernel.
unsafe fn multiply<K: Kernel>(kernel: K, p: &Problem, group: &[Block], a: &Packed<K>, b: &Packed<K>, sums: &mut [f32]) {
    let addend = if group[0].is_first { p.addend } else { Addend::of(p.c) };
    let scale = p.scale.filter(|_| group.last().is_some_and(|block| block.is_last));
    let [tile_rows, tile_cols] = K::PANEL;
    let mut first = 0;
    for run in runs::<K>(group) {
        for_each_tile(a, b, |i, j| {
            let (rows, cols) = (a.panels.range(a.range.start + i), b.panels.range(b.range.start + j));
            // Sums that one run completes need no place of their own.
            let start = if run.len() == group.len() { 0 } else { (i * b.range.len() + j) * tile_rows * tile_cols };
            let values = &mut sums[start..start + tile_rows * tile_cols];
            for (at, block) in (first..).zip(run) {
                let tile = Tile {
                    depth: block.depth.len(),
                    a: a.panel(i, at, block).as_ptr(),
                    b: b.panel(j, at, block).as_ptr(),
                    dtypes: [block.term.a.values.dtype(), block.term.b.values.dtype()],
                    sums: values.as_mut_ptr(),
                    size: [rows.len(), cols.len()],
                    accumulate: at > 0,
                    next: ahead(a, b, [i, j], at, block),
                };
                // SAFETY: a session is the caller's, and the slices are as long as a panel and a tile are.
                unsafe { kernel.tile(&tile) };
            }
            if first + run.len() == group.len() {
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
        first += run.len();
    }
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
fn ahead<K: Kernel>(a: &Packed<K>, b: &Packed<K>, [i, j]: [usize; 2], at: usize, block: &Block) -> *const K::Packed {
    let ((staying, s), (passing, t)) = if K::STAYS == Side::A { ((a, i), (b, j)) } else { ((b, j), (a, i)) };
    let part = t * block.depth.len() * K::AHEAD;
    match part < block.sizes[K::STAYS as usize] {
        true => staying.address(s + 1, at).wrapping_add(part),
        false => passing.address(t + 1, at),
    }
}
