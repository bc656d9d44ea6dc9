//! Panels: the lines of an operand that a micro-kernel takes at a time, and how they are packed.

use std::ops::Range;

use device::{Buffer, DType, Device, Element, Elements};
use half::{bf16, f16};

use crate::GemmError;
use crate::expand;
use crate::kernel::{Kernel, Panel, Part, Side};
use crate::matrix::{Lines, Values};
use crate::simd::{Rounded, Source};

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

    /// Packs one panel of `source` over a range of its depth. `out` is as long as that takes.
    pub(crate) fn pack<K: Kernel>(
        &self,
        kernel: K,
        source: Lines<'_>,
        panel: usize,
        depth: Range<usize>,
        out: &mut [K::Packed],
    ) {
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

/// Memory to pack in.
pub(crate) fn scratch<P: Element>(len: usize) -> Result<Buffer, GemmError> {
    Ok(Buffer::scratch(Device::Cpu, P::DTYPE, len)?)
}
