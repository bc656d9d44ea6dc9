//! The blocked product: both operands in packed panels, `C` in slabs that threads own.
//!
//! The operand along the shorter side of `C` is packed once and shared by all threads. The longer side is cut into slabs;
//! whoever takes a slab packs the other operand's part of it, so each operand is packed once per call. The depth runs by in
//! blocks while a part of `C` is summed in one core's cache, and complete sums are written once.
//!
//! An element of `C` is summed by one thread, block of depth after block of depth. The blocks depend on sizes alone, so the
//! split over threads cannot change a bit.

use std::ops::Range;

use device::{Buffer, DType, Device, Element, Elements};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::GemmError;
use crate::expand;
use crate::kernel::{Kernel, Panel, Part, Side, Sums, Tile};
use crate::matrix::Values;
use crate::problem::{Addend, Problem, Term, in_slabs};
use crate::simd::{Rounded, Source};

/// Bytes of the shared operand that are packed at a time, unless a single block of depth is more.
const SHARED_BYTES: usize = 8 << 20;

/// One side of `C` cut into panels of nearly equal width, in whole `unit`s but for the very last.
#[derive(Clone, Copy)]
struct Panels {
    side: Side,
    len: usize,
    unit: usize,
    count: usize,
}

impl Panels {
    fn new<K: Kernel>(side: Side, len: usize) -> Self {
        Self { side, len, unit: K::PANEL_UNIT[side as usize], count: len.div_ceil(K::PANEL[side as usize]) }
    }

    fn range(&self, panel: usize) -> Range<usize> {
        let units = self.len.div_ceil(self.unit);
        let start = |panel: usize| (units * panel / self.count * self.unit).min(self.len);
        start(panel)..start(panel + 1)
    }
}

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

/// Consecutive packed panels of one operand, block after block of depth.
struct Packed<'a, K: Kernel> {
    data: &'a [K::Packed],
    /// From panel to panel in `data`.
    pitch: usize,
    panels: Panels,
    /// The panels in `data`.
    range: Range<usize>,
}

impl<K: Kernel> Packed<'_, K> {
    /// Panel `index` over the run that the data start with.
    fn panel(&self, index: usize, run: &Run) -> &[K::Packed] {
        &self.data[index * self.pitch..][..run.sizes[self.panels.side as usize]]
    }
}

/// How many of the blocks are packed at a time.
fn packed_together<K: Kernel>(blocks: &[Block], shared: Panels) -> usize {
    let room = SHARED_BYTES / size_of::<K::Packed>() / shared.count;
    let fits = |taken: &mut usize, block: &Block| {
        *taken += block.sizes[shared.side as usize];
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
    let pitch = |panels: Panels| group.iter().map(|block| block.sizes[panels.side as usize]).sum::<usize>();
    let mut packed = scratch::<K::Packed>(shared.count * pitch(shared))?;
    let packed = packed.as_mut_slice::<K::Packed>()?;
    let pack = |(panel, out): (usize, &mut [K::Packed])| pack_panel(kernel, group, shared, panel, out);
    if p.parts() == 1 {
        packed.chunks_exact_mut(pitch(shared)).enumerate().for_each(pack);
    } else {
        packed.par_chunks_exact_mut(pitch(shared)).enumerate().for_each(pack);
    }
    let packed = &*packed;
    in_slabs(owned.count, p.parts(), |slab| {
        let [most, others_at_a_time] = [owned, shared].map(|panels| K::BLOCK_PANELS[panels.side as usize]);
        // Where few others pass, less is packed ahead.
        let at_a_time = most.min(shared.count);
        let mut local = scratch::<K::Packed>(slab.len().min(at_a_time) * pitch(owned))?;
        let local = local.as_mut_slice::<K::Packed>()?;
        let mut sums = scratch::<f32>(K::BLOCK_PANELS[0] * K::BLOCK_PANELS[1] * K::PANEL[0] * K::PANEL[1])?;
        let sums = sums.f32_mut()?;
        kernel.session(|| {
            for range in ranges(slab, at_a_time) {
                for (panel, out) in range.clone().zip(local.chunks_exact_mut(pitch(owned))) {
                    pack_panel(kernel, group, owned, panel, out);
                }
                for others in ranges(0..shared.count, others_at_a_time) {
                    let own = Packed { data: local, pitch: pitch(owned), panels: owned, range: range.clone() };
                    let data = &packed[others.start * pitch(shared)..];
                    let others = Packed { data, pitch: pitch(shared), panels: shared, range: others };
                    let (a, b) = if owned.side == Side::A { (own, others) } else { (others, own) };
                    // SAFETY: panels of this slab are packed by nobody else, so neither are its elements of `C` written.
                    unsafe { multiply(kernel, p, group, a, b, sums) };
                }
            }
        });
        Ok(())
    })
}

/// Consecutive parts of `range` of at most `len`.
fn ranges(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(len).map(move |start| start..range.end.min(start + len))
}

fn scratch<P: Element>(len: usize) -> Result<Buffer, GemmError> {
    Ok(Buffer::scratch(Device::Cpu, P::DTYPE, len)?)
}

/// Packs one panel over a group of blocks.
fn pack_panel<K: Kernel>(kernel: K, group: &[Block], panels: Panels, panel: usize, mut out: &mut [K::Packed]) {
    for block in group {
        let (now, later) = out.split_at_mut(block.sizes[panels.side as usize]);
        pack_block(kernel, block, panels, panel, now);
        out = later;
    }
}

/// Packs one panel over one block of depth.
fn pack_block<K: Kernel>(kernel: K, block: &Block, panels: Panels, panel: usize, out: &mut [K::Packed]) {
    fn run<K: Kernel, T: Source>(kernel: K, elements: &[T], part: Part, out: &mut [K::Packed]) {
        let (lines, depth) = (part.lines.len(), part.depth.len());
        let panel = Panel { elements, part };
        assert!(lines > 0 && depth > 0 && elements.as_ptr_range().contains(&panel.at(lines - 1, depth - 1)));
        // SAFETY: the assertions, here and of the length of `out`, are the bounds that packing relies on.
        unsafe { kernel.pack(&panel, out) }
    }
    let side = panels.side;
    let source = block.term.lines(side);
    let (source_stride, depth_is_contiguous) = (source.stride, source.depth_is_contiguous);
    let part =
        Part { side, source_stride, depth_is_contiguous, lines: panels.range(panel), depth: block.depth.clone() };
    assert_eq!(out.len(), block.sizes[side as usize]);
    match source.values {
        Values::Stored(Elements::F32(elements)) => run(kernel, elements, part, out),
        Values::Stored(Elements::BF16(elements)) => run(kernel, elements, part, out),
        Values::Stored(Elements::F16(elements)) => run(kernel, elements, part, out),
        Values::Rounded(elements) => run(kernel, bytemuck::cast_slice::<f32, Rounded>(elements), part, out),
        Values::Expanded(source) => match source.dtype() {
            DType::F32 => expand::pack::<K, f32>(kernel, source, &part, out),
            DType::BF16 => expand::pack::<K, bf16>(kernel, source, &part, out),
            DType::F16 => expand::pack::<K, f16>(kernel, source, &part, out),
        },
    }
}

/// The blocks of a group in runs, each of which a tile sums from its first to its last block: as many as a panel that
/// stays in the first-level cache has room for.
fn runs<'a, 'b, K: Kernel>(group: &'a [Block<'b>]) -> impl Iterator<Item = Run<'a, 'b>> {
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
        let sizes = [0, 1].map(|side| blocks.iter().map(|block| block.sizes[side]).sum());
        let depth = blocks.iter().map(|block| block.depth.len()).sum();
        (count > 0).then_some(Run { blocks, sizes, depth })
    })
}

/// Consecutive blocks of depth.
struct Run<'a, 'b> {
    blocks: &'a [Block<'b>],
    /// Packed elements of one panel of each side.
    sizes: [usize; 2],
    depth: usize,
}

/// The part of `C` where panels of `a` meet panels of `b`, over a group of blocks. The sums, tile after tile, stay in the
/// second-level cache until they are complete.
///
/// # Safety
/// `p.c` is valid, and nothing else accesses that part. Within a session of the kernel.
unsafe fn multiply<K: Kernel>(
    kernel: K,
    p: &Problem,
    group: &[Block],
    mut a: Packed<K>,
    mut b: Packed<K>,
    sums: &mut [f32],
) {
    let addend = if group[0].is_first { p.addend } else { Addend::of(p.c) };
    let scale = p.scale.filter(|_| group.last().is_some_and(|block| block.is_last));
    let [tile_rows, tile_cols] = K::PANEL;
    let (rows, cols) = (a.range.clone(), b.range.clone());
    let mut blocks_left = group.len();
    for run in runs::<K>(group) {
        let is_first = blocks_left == group.len();
        blocks_left -= run.blocks.len();
        for_each_tile(&run, &a, &b, |i, j, mut next| {
            let (rows, cols) = (a.panels.range(rows.start + i), b.panels.range(cols.start + j));
            // Sums that one run completes need no place of their own.
            let at = if run.blocks.len() == group.len() { 0 } else { (i * b.range.len() + j) * tile_rows * tile_cols };
            let values = &mut sums[at..at + tile_rows * tile_cols];
            let (mut panel_a, mut panel_b) = (a.panel(i, &run).as_ptr(), b.panel(j, &run).as_ptr());
            for (index, block) in run.blocks.iter().enumerate() {
                let tile = Tile {
                    depth: block.depth.len(),
                    a: panel_a,
                    b: panel_b,
                    dtypes: [block.term.a.values.dtype(), block.term.b.values.dtype()],
                    sums: values.as_mut_ptr(),
                    size: [rows.len(), cols.len()],
                    accumulate: !is_first || index > 0,
                    next,
                };
                // SAFETY: a session is the caller's, and the slices are as long as a panel and a tile are.
                unsafe { kernel.tile(&tile) };
                panel_a = panel_a.wrapping_add(block.sizes[Side::A as usize]);
                panel_b = panel_b.wrapping_add(block.sizes[Side::B as usize]);
                next = next.wrapping_add(block.depth.len() * K::AHEAD);
            }
            if blocks_left == 0 {
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
        a.data = &a.data[run.sizes[Side::A as usize]..];
        b.data = &b.data[run.sizes[Side::B as usize]..];
    }
}

/// Calls `tile` for each pair of a panel of `A` and one of `B`, with what to fetch ahead. A panel of one operand stays in
/// the first-level cache while those of the other, which stay in the second-level cache, go by.
fn for_each_tile<K: Kernel>(
    run: &Run,
    a: &Packed<K>,
    b: &Packed<K>,
    mut tile: impl FnMut(usize, usize, *const K::Packed),
) {
    let (staying, passing) = if K::STAYS == Side::A { (a, b) } else { (b, a) };
    for s in 0..staying.range.len() {
        for t in 0..passing.range.len() {
            // The panel that stays next is fetched while the first ones pass, and those one by one.
            let part = t * run.depth * K::AHEAD;
            let next = match part < run.sizes[K::STAYS as usize] {
                true => staying.data.as_ptr().wrapping_add((s + 1) * staying.pitch + part),
                false => passing.data.as_ptr().wrapping_add((t + 1) * passing.pitch),
            };
            if K::STAYS == Side::A { tile(s, t, next) } else { tile(t, s, next) }
        }
    }
}
