//! The blocked product: both operands in packed panels, `C` in slabs that threads own.
//!
//! The operand along the shorter side of `C` is packed once and shared by all threads. The longer side is cut into slabs;
//! whoever takes a slab packs the other operand's part of it, block by block, so each operand is packed once per call and
//! a slab of `C` stays in one core's cache while the depth runs by. An element of `C` is summed by one thread, block of
//! depth after block of depth, and the blocks depend on the depth alone: the split over threads cannot change a bit.

use std::ops::Range;

use device::{Buffer, DType, Device};
use rayon::prelude::*;

use crate::GemmError;
use crate::isa::{Isa, Vector};
use crate::matrix::Lines;
use crate::pack::pack_panel;
use crate::problem::{Addend, Problem, in_slabs};
use crate::tile::Tile;

/// Depth of a block: a panel of `B` of this depth fits the first- or second-level cache.
const BLOCK_DEPTH: usize = 512;
/// Panels in a block of the operand that a thread packs: with [`BLOCK_DEPTH`], a part of the second-level cache.
const BLOCK_PANELS: usize = 8;
/// Elements of the shared operand that are packed at a time, unless a single block of depth is more.
const SHARED_ELEMENTS: usize = 4 << 20;

/// One side of `C` cut into panels of nearly equal width, in whole `unit`s but for the very last.
#[derive(Clone, Copy)]
struct Panels {
    len: usize,
    unit: usize,
    count: usize,
}

impl Panels {
    fn new(len: usize, unit: usize, widest: usize) -> Self {
        Self { len, unit, count: len.div_ceil(widest) }
    }

    fn range(&self, panel: usize) -> Range<usize> {
        let units = self.len.div_ceil(self.unit);
        let start = |panel: usize| (units * panel / self.count * self.unit).min(self.len);
        start(panel)..start(panel + 1)
    }
}

/// The blocks of the depth, of nearly equal size.
fn depth_block(k: usize, block: usize) -> Range<usize> {
    let count = k.div_ceil(BLOCK_DEPTH);
    k * block / count..k * (block + 1) / count
}

/// Consecutive packed panels of one operand over one block of depth.
struct Packed<'a> {
    data: &'a [f32],
    /// From panel to panel in `data`.
    pitch: usize,
    panels: Panels,
    /// The panels in `data`.
    range: Range<usize>,
}

/// Computes the product.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile.
pub(crate) unsafe fn run<I: Isa>(isa: I, p: &Problem) -> Result<(), GemmError> {
    let rows = Panels::new(p.m, 1, I::TILE_ROWS);
    let cols = Panels::new(p.n, <I::Vector as Vector>::LANES, I::TILE_COLS);
    let rows_are_shared = p.m <= p.n;
    let (shared, shared_lines, shared_stride) =
        if rows_are_shared { (rows, p.a, I::A_STRIDE) } else { (cols, p.b, I::TILE_COLS) };

    let blocks = p.k.div_ceil(BLOCK_DEPTH);
    let blocks_at_a_time = (SHARED_ELEMENTS / (shared.count * shared_stride * BLOCK_DEPTH)).max(1);
    for first in (0..blocks).step_by(blocks_at_a_time) {
        let last = (first + blocks_at_a_time).min(blocks) - 1;
        let depth = depth_block(p.k, first).start..depth_block(p.k, last).end;
        let packed = pack_shared(isa, p, &shared_lines, shared, shared_stride, depth.clone())?;
        let packed = packed.f32()?;
        let part = |block: Range<usize>| Packed {
            data: &packed[(block.start - depth.start) * shared_stride..],
            pitch: depth.len() * shared_stride,
            panels: shared,
            range: 0..shared.count,
        };
        let owned = if rows_are_shared { cols } else { rows };
        in_slabs(owned.count, p.parts(), |slab| {
            let stride = if rows_are_shared { I::TILE_COLS } else { I::A_STRIDE };
            let lines = if rows_are_shared { &p.b } else { &p.a };
            let mut local =
                Buffer::scratch(Device::Cpu, DType::F32, slab.len().min(BLOCK_PANELS) * stride * BLOCK_DEPTH)?;
            let local = local.f32_mut()?;
            for start in slab.clone().step_by(BLOCK_PANELS) {
                let range = start..slab.end.min(start + BLOCK_PANELS);
                for block in first..=last {
                    let addend = if block == 0 { p.addend } else { Addend::of(p.c) };
                    let block = depth_block(p.k, block);
                    let pitch = block.len() * stride;
                    for (panel, out) in range.clone().zip(local.chunks_exact_mut(pitch)) {
                        pack_panel(isa, lines, owned.range(panel), block.clone(), stride, out);
                    }
                    let own = Packed { data: local, pitch, panels: owned, range: range.clone() };
                    let (a, b) = if rows_are_shared { (part(block.clone()), own) } else { (own, part(block.clone())) };
                    // SAFETY: panels of this slab are packed by nobody else, so neither are its elements of `C` written.
                    unsafe { multiply(isa, p, &a, &b, block.len(), addend) };
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Packs every panel of the shared operand over `depth`.
fn pack_shared<I: Isa>(
    isa: I,
    p: &Problem,
    lines: &Lines,
    panels: Panels,
    stride: usize,
    depth: Range<usize>,
) -> Result<Buffer, GemmError> {
    let pitch = depth.len() * stride;
    let mut packed = Buffer::scratch(Device::Cpu, DType::F32, panels.count * pitch)?;
    let pack =
        |(panel, out): (usize, &mut [f32])| pack_panel(isa, lines, panels.range(panel), depth.clone(), stride, out);
    if p.parts() == 1 {
        packed.f32_mut()?.chunks_exact_mut(pitch).enumerate().for_each(pack);
    } else {
        packed.f32_mut()?.par_chunks_exact_mut(pitch).enumerate().for_each(pack);
    }
    Ok(packed)
}

/// The tiles of `C` where panels of `a` meet panels of `b`: a panel of `B` stays in the first-level cache while a block of
/// panels of `A`, which stays in the second-level cache, goes by.
///
/// # Safety
/// `p.c` is valid, and nothing else accesses those tiles.
unsafe fn multiply<I: Isa>(isa: I, p: &Problem, a: &Packed, b: &Packed, depth: usize, addend: Addend) {
    assert!(a.data.len() >= (a.range.len() - 1) * a.pitch + depth * I::A_STRIDE);
    assert!(b.data.len() >= (b.range.len() - 1) * b.pitch + depth * I::TILE_COLS);
    for a_start in (0..a.range.len()).step_by(BLOCK_PANELS) {
        for j in 0..b.range.len() {
            let cols = b.panels.range(b.range.start + j);
            for i in a_start..a.range.len().min(a_start + BLOCK_PANELS) {
                let rows = a.panels.range(a.range.start + i);
                // SAFETY: the assertions hold the panels, and the panels' ranges are within `m` and `n`.
                unsafe {
                    isa.tile(&Tile {
                        depth,
                        a: a.data.as_ptr().add(i * a.pitch),
                        b: b.data.as_ptr().add(j * b.pitch),
                        c: p.c.start.add(rows.start * p.c.row_stride + cols.start),
                        c_stride: p.c.row_stride,
                        rows: rows.len(),
                        cols: cols.len(),
                        alpha: p.alpha,
                        addend: addend.at(rows.start, cols.start),
                    });
                }
            }
        }
    }
}
