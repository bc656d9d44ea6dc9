//! Operands whose elements are computed as they are read, such as quantized blocks: never all of them at once.

use std::ops::Range;

use device::{DType, Element, ElementsMut};

use crate::kernel::{Kernel, Panel, Part};
use crate::matrix::Lines;
use crate::panels::{self, Panels, ranges};
use crate::simd::{MAX_LANES, Source};

/// A row-major matrix that is stored in another form than one element after another.
///
/// A product with it has the bits of the product with the matrix that [`Expand::expand`] would write in full.
pub trait Expand: Sync {
    /// What the elements are rounded to.
    fn dtype(&self) -> DType;

    /// Number of elements.
    fn len(&self) -> usize;

    /// Whether there is no element.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a window to `out`, which is of [`Expand::dtype`], row after row without gaps. It is called from many threads.
    fn expand(&self, window: Window, out: ElementsMut<'_>);
}

/// The same part of consecutive rows; as many of them as there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first element.
    pub first: usize,
    /// Elements of a row; not zero.
    pub row_len: usize,
    /// From row to row.
    pub row_stride: usize,
}

/// Lines of a panel at most.
const MAX_LINES: usize = 2 * MAX_LANES;
/// Panels whose lines lie side by side are expanded together up to this many, so that rows are long.
const MAX_PANELS: usize = 16;
/// Depths that are expanded together of panels whose lines do not, and of others.
const DEPTHS: [usize; 2] = [256, 32];
/// Elements that are expanded at a time: they stay near until they are packed.
const MAX_ELEMENTS: usize = MAX_PANELS * MAX_LINES * DEPTHS[1];

/// Packs consecutive panels of `source`, the values of `lines`, over a range of its depth; each starts `pitch` elements behind the
/// one before.
///
/// # Panics
/// If `out` is too short, or a panel has more lines than any kernel's.
pub(crate) fn pack<K: Kernel, T: Source + Element>(
    kernel: K,
    panels: &Panels,
    (lines, source): (Lines<'_>, &dyn Expand),
    range: Range<usize>,
    depth: Range<usize>,
    (out, pitch): (&mut [K::Packed], usize),
) {
    const { assert!(MAX_ELEMENTS >= MAX_LINES * DEPTHS[0] && DEPTHS[1].is_multiple_of(K::DEPTH_UNIT)) };
    let Lines { stride: row_stride, depth_is_contiguous, .. } = lines;
    let (together, turn) = if depth_is_contiguous { (1, DEPTHS[0]) } else { (MAX_PANELS, DEPTHS[1]) };
    let stride = kernel.stride(panels.side, <T as Source>::DTYPE);
    let mut expanded = [T::from_f32(0.0); MAX_ELEMENTS];
    for group in ranges(range.clone(), together) {
        let side_by_side = panels.range(group.start).start..panels.range(group.end - 1).end;
        for now in ranges(depth.clone(), turn) {
            let [rows, columns] = if depth_is_contiguous { [&side_by_side, &now] } else { [&now, &side_by_side] };
            let source_stride = columns.len();
            let elements = &mut expanded[..rows.len() * source_stride];
            let window = Window { first: rows.start * row_stride + columns.start, row_len: source_stride, row_stride };
            source.expand(window, ElementsMut::new(elements));
            for panel in group.clone() {
                let lines = panels.range(panel);
                let lines = lines.start - side_by_side.start..lines.end - side_by_side.start;
                let part = Part { side: panels.side, source_stride, depth_is_contiguous, lines, depth: 0..now.len() };
                let first = (panel - range.start) * pitch + (now.start - depth.start) * stride;
                panels::pack(kernel, &Panel { elements, part }, &mut out[first..]);
            }
        }
    }
}
