//! Packing: lines of an operand, widened to f32, in the order in which the micro-kernel reads them.

use std::ops::Range;

use device::Elements;

use crate::isa::{Isa, MAX_LANES, Source, Vector, load_partial};
use crate::matrix::Lines;

/// Which part of an operand becomes one panel.
pub(crate) struct Panel<'a, T> {
    elements: &'a [T],
    source_stride: usize,
    depth_is_contiguous: bool,
    lines: Range<usize>,
    depth: Range<usize>,
    stride: usize,
}

/// Packs `lines` over `depth` as `[depth, stride]`; lines that are missing to `stride` are zero.
pub(crate) fn pack_panel<I: Isa>(
    isa: I,
    source: &Lines,
    lines: Range<usize>,
    depth: Range<usize>,
    stride: usize,
    out: &mut [f32],
) {
    fn run<I: Isa, T: Source>(isa: I, panel: Panel<T>, out: &mut [f32]) {
        assert_eq!(out.len(), panel.depth.len() * panel.stride);
        assert!(!panel.lines.is_empty() && panel.lines.len() <= panel.stride && !panel.depth.is_empty());
        let (last_line, last_depth) = (panel.lines.end - 1, panel.depth.end - 1);
        let last = match panel.depth_is_contiguous {
            true => last_line * panel.source_stride + last_depth,
            false => last_depth * panel.source_stride + last_line,
        };
        assert!(last < panel.elements.len());
        // SAFETY: `isa` proves the instruction set, and the assertions are the bounds that packing relies on.
        unsafe { isa.pack(&panel, out) }
    }
    let Lines { elements, stride: source_stride, depth_is_contiguous } = *source;
    match elements {
        Elements::F32(elements) => {
            run(isa, Panel { elements, source_stride, depth_is_contiguous, lines, depth, stride }, out)
        }
        Elements::BF16(elements) => {
            run(isa, Panel { elements, source_stride, depth_is_contiguous, lines, depth, stride }, out)
        }
        Elements::F16(elements) => {
            run(isa, Panel { elements, source_stride, depth_is_contiguous, lines, depth, stride }, out)
        }
    }
}

/// The kernel of [`pack_panel`].
///
/// # Safety
/// The instruction set is available; `lines` and `depth` are within the operand, not empty, `lines` at most `stride`, a
/// multiple of the lanes; `out` is `depth * stride` long.
#[inline(always)]
pub(crate) unsafe fn pack<V: Vector, T: Source>(panel: &Panel<T>, out: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe {
        for first in (0..panel.stride).step_by(V::LANES) {
            let count = panel.lines.len().saturating_sub(first).min(V::LANES);
            if panel.depth_is_contiguous {
                pack_transposing::<V, T>(panel, first, count, out.as_mut_ptr().add(first));
            } else {
                pack_copying::<V, T>(panel, first, count, out.as_mut_ptr().add(first));
            }
        }
    }
}

/// `count` lines from the panel's line `first` on, where the elements of one depth are neighbours.
///
/// # Safety
/// As for [`pack`]; `out` is the first of the lines.
#[inline(always)]
unsafe fn pack_copying<V: Vector, T: Source>(panel: &Panel<T>, first: usize, count: usize, out: *mut f32) {
    // SAFETY: the line exists if `count` is not zero, and nothing is read otherwise; `out` holds `stride` a depth.
    unsafe {
        let from = panel.elements.as_ptr().wrapping_add(panel.lines.start + first);
        for (k, depth) in panel.depth.clone().enumerate() {
            let from = from.wrapping_add(depth * panel.source_stride);
            let vector = if count == V::LANES { T::load::<V>(from) } else { load_partial::<V, T>(from, count) };
            vector.store(out.add(k * panel.stride));
        }
    }
}

/// `count` lines from the panel's line `first` on, where the elements of one line are neighbours: squares of as many
/// lines and depths as a register has lanes are transposed in registers.
///
/// # Safety
/// As for [`pack`]; `out` is the first of the lines.
#[inline(always)]
unsafe fn pack_transposing<V: Vector, T: Source>(panel: &Panel<T>, first: usize, count: usize, out: *mut f32) {
    let depth = panel.depth.len();
    // SAFETY: lines below `count` exist, and of their depths no more than `depth` are read or written.
    unsafe {
        let line = |i: usize| {
            panel.elements.as_ptr().add((panel.lines.start + first + i) * panel.source_stride + panel.depth.start)
        };
        let mut k = 0;
        while k + V::LANES <= depth {
            let mut square = [V::zero(); MAX_LANES];
            for (i, row) in square[..V::LANES].iter_mut().enumerate() {
                if i < count {
                    *row = T::load::<V>(line(i).add(k));
                }
            }
            let square = transpose(square);
            for (j, column) in square[..V::LANES].iter().enumerate() {
                column.store(out.add((k + j) * panel.stride));
            }
            k += V::LANES;
        }
        if k < depth {
            let mut square = [V::zero(); MAX_LANES];
            for (i, row) in square[..V::LANES].iter_mut().enumerate() {
                if i < count {
                    *row = load_partial::<V, T>(line(i).add(k), depth - k);
                }
            }
            let square = transpose(square);
            for (j, column) in square[..depth - k].iter().enumerate() {
                column.store(out.add((k + j) * panel.stride));
            }
        }
    }
}

/// Transposes the first `LANES` registers: a perfect shuffle of the rows, as many times as it takes to be back.
///
/// # Safety
/// The instruction set is available.
#[inline(always)]
unsafe fn transpose<V: Vector>(mut rows: [V; MAX_LANES]) -> [V; MAX_LANES] {
    for _ in 0..V::LANES.ilog2() {
        let mut shuffled = rows;
        for i in 0..V::LANES / 2 {
            // SAFETY: the caller's.
            (shuffled[2 * i], shuffled[2 * i + 1]) = unsafe { rows[i].zip(rows[i + V::LANES / 2]) };
        }
        rows = shuffled;
    }
    rows
}
