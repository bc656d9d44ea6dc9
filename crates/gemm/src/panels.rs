//! Panels: the lines of an operand that a micro-kernel takes at a time, and how they are packed.

use std::ops::Range;

use device::{Buffer, DType, Device, Element, Elements};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::GemmError;
use crate::expand;
use crate::kernel::{Kernel, Panel, Part, Side};
use crate::matrix::{Lines, Values};
use crate::simd::{Rounded, Source};

/// Panels that are packed together at most.
const NEIGHBOURS: usize = 16;
/// Depths of which panels are packed in turns.
const DEPTHS_IN_TURN: usize = 32;

/// One side of `C` cut into panels of nearly equal width, in whole `unit`s but for the very last.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    pub(crate) side: Side,
    len: usize,
    unit: usize,
    pub(crate) count: usize,
}

impl Panels {
    pub(crate) fn new<K: Kernel>(side: Side, len: usize) -> Self {
        Self { side, len, unit: K::PANEL_UNIT[side as usize], count: len.div_ceil(K::PANEL[side as usize]) }
    }

    /// The lines of a panel.
    pub(crate) fn range(&self, panel: usize) -> Range<usize> {
        let units = self.len.div_ceil(self.unit);
        let start = |panel: usize| (units * panel / self.count * self.unit).min(self.len);
        start(panel)..start(panel + 1)
    }

    /// Calls `body` with neighbouring panels and their parts of `out`, of `pitch` elements each: all at once, where there are several
    /// `parts` to do, and as many together as leave something for each. Nothing is called for panels of no elements.
    pub(crate) fn in_neighbours<P: Send>(
        &self,
        out: &mut [P],
        pitch: usize,
        parts: usize,
        body: impl Fn(Range<usize>, &mut [P]) + Sync,
    ) {
        let together = self.count.div_ceil(parts).min(NEIGHBOURS);
        let body = |(index, out): (usize, &mut [P])| {
            let first = index * together;
            body(first..self.count.min(first + together), out);
        };
        let chunk = (pitch * together).max(1);
        match parts {
            1 => out.chunks_mut(chunk).enumerate().for_each(body),
            _ => out.par_chunks_mut(chunk).enumerate().for_each(body),
        }
    }

    /// Packs consecutive panels of `source` over a range of its depth; each starts `pitch` elements behind the one before. Where
    /// the depths of a line are far from each other the panels take turns, so that what lies side by side is read together.
    pub(crate) fn pack_together<K: Kernel>(
        &self,
        kernel: K,
        source: Lines<'_>,
        panels: Range<usize>,
        depth: Range<usize>,
        (out, pitch): (&mut [K::Packed], usize),
    ) {
        let to = (out, pitch);
        match source.values {
            Values::Stored(Elements::F32(elements)) => self.pack_stored(kernel, elements, source, panels, depth, to),
            Values::Stored(Elements::BF16(elements)) => self.pack_stored(kernel, elements, source, panels, depth, to),
            Values::Stored(Elements::F16(elements)) => self.pack_stored(kernel, elements, source, panels, depth, to),
            Values::Rounded(elements) => {
                let elements = bytemuck::cast_slice::<f32, Rounded>(elements);
                self.pack_stored(kernel, elements, source, panels, depth, to);
            }
            Values::Expanded(expanded) => match expanded.dtype() {
                DType::F32 => expand::pack::<K, f32>(kernel, self, (source, expanded), panels, depth, to),
                DType::BF16 => expand::pack::<K, bf16>(kernel, self, (source, expanded), panels, depth, to),
                DType::F16 => expand::pack::<K, f16>(kernel, self, (source, expanded), panels, depth, to),
            },
        }
    }

    fn pack_stored<K: Kernel, T: Source>(
        &self,
        kernel: K,
        elements: &[T],
        source: Lines<'_>,
        panels: Range<usize>,
        depth: Range<usize>,
        (out, pitch): (&mut [K::Packed], usize),
    ) {
        let Lines { stride: source_stride, depth_is_contiguous, .. } = source;
        let stride = kernel.stride(self.side, T::DTYPE);
        let turn = match depth_is_contiguous {
            true => depth.len(),
            false => DEPTHS_IN_TURN.next_multiple_of(K::DEPTH_UNIT),
        };
        for now in ranges(depth.clone(), turn) {
            for (index, panel) in panels.clone().enumerate() {
                let lines = self.range(panel);
                let part = Part { side: self.side, source_stride, depth_is_contiguous, lines, depth: now.clone() };
                let first = index * pitch + (now.start - depth.start) * stride;
                pack(kernel, &Panel { elements, part }, &mut out[first..]);
            }
        }
    }
}

/// Packs one panel to the start of `out`.
///
/// # Panics
/// If the panel is empty or not within its elements, or `out` is too short.
pub(crate) fn pack<K: Kernel, T: Source>(kernel: K, panel: &Panel<T>, out: &mut [K::Packed]) {
    let Part { side, lines, depth, .. } = &panel.part;
    let (lines, depth) = (lines.len(), depth.len());
    assert!(lines > 0 && depth > 0 && panel.elements.as_ptr_range().contains(&panel.at(lines - 1, depth - 1)));
    let len = depth.next_multiple_of(K::DEPTH_UNIT) * kernel.stride(*side, T::DTYPE);
    // SAFETY: the assertion and the length of `out` are the bounds that packing relies on.
    unsafe { kernel.pack(panel, &mut out[..len]) }
}

/// Consecutive parts of `range` of at most `len`.
pub(crate) fn ranges(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(len).map(move |start| start..range.end.min(start + len))
}

/// Memory to pack in.
pub(crate) fn scratch<P: Element>(len: usize) -> Result<Buffer, GemmError> {
    Ok(Buffer::scratch(Device::Cpu, P::DTYPE, len)?)
}
