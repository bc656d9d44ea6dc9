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
        let stride = kernel.stride(self.side, source.values.dtype());
        let turn = match source.values {
            _ if source.depth_is_contiguous => depth.len(),
            Values::Expanded(_) => expand::DEPTHS,
            _ => DEPTHS_IN_TURN.next_multiple_of(K::DEPTH_UNIT),
        };
        for part in ranges(depth.clone(), turn) {
            let first = (part.start - depth.start) * stride;
            let len = part.len().next_multiple_of(K::DEPTH_UNIT) * stride;
            for (index, panel) in panels.clone().enumerate() {
                self.pack(kernel, source, panel, part.clone(), &mut out[index * pitch + first..][..len]);
            }
        }
    }

    /// Packs one panel of `source` over a range of its depth. `out` is as long as that takes.
    fn pack<K: Kernel>(&self, kernel: K, source: Lines<'_>, panel: usize, depth: Range<usize>, out: &mut [K::Packed]) {
        fn run<K: Kernel, T: Source>(kernel: K, elements: &[T], part: Part, out: &mut [K::Packed]) {
            let (lines, depth) = (part.lines.len(), part.depth.len());
            let panel = Panel { elements, part };
            assert!(lines > 0 && depth > 0 && elements.as_ptr_range().contains(&panel.at(lines - 1, depth - 1)));
            // SAFETY: the assertions, here and of the length of `out`, are the bounds that packing relies on.
            unsafe { kernel.pack(&panel, out) }
        }
        let Self { side, .. } = *self;
        let Lines { values, stride: source_stride, depth_is_contiguous, .. } = source;
        assert_eq!(out.len(), depth.len().next_multiple_of(K::DEPTH_UNIT) * kernel.stride(side, values.dtype()));
        let part = Part { side, source_stride, depth_is_contiguous, lines: self.range(panel), depth };
        match values {
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
}

/// Consecutive parts of `range` of at most `len`.
pub(crate) fn ranges(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(len).map(move |start| start..range.end.min(start + len))
}

/// Memory to pack in.
pub(crate) fn scratch<P: Element>(len: usize) -> Result<Buffer, GemmError> {
    Ok(Buffer::scratch(Device::Cpu, P::DTYPE, len)?)
}
