//! Operands whose elements are computed as they are read, such as quantized blocks: never all of them at once.

use device::{DType, Element, ElementsMut};

use crate::kernel::{Kernel, Panel, Part};
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
/// Depths that are expanded at a time: the lines of a panel stay in the first-level cache until they are packed.
pub(crate) const DEPTHS: usize = 128;

/// Packs a panel of `source`, a few depths at a time.
///
/// # Panics
/// If `out` is not as long as the part, or the part has more lines than any panel.
pub(crate) fn pack<K: Kernel, T: Source + Element>(kernel: K, source: &dyn Expand, part: &Part, out: &mut [K::Packed]) {
    assert!(part.lines.len() <= MAX_LINES && !part.lines.is_empty() && DEPTHS.is_multiple_of(K::DEPTH_UNIT));
    let stride = kernel.stride(part.side, <T as Source>::DTYPE);
    assert_eq!(out.len(), part.depth.len().next_multiple_of(K::DEPTH_UNIT) * stride);
    let mut expanded = [T::from_f32(0.0); MAX_LINES * DEPTHS];
    for (start, out) in part.depth.clone().step_by(DEPTHS).zip(out.chunks_mut(DEPTHS * stride)) {
        let depth = start..part.depth.end.min(start + DEPTHS);
        let (rows, columns) = match part.depth_is_contiguous {
            true => (part.lines.clone(), depth.clone()),
            false => (depth.clone(), part.lines.clone()),
        };
        let first = rows.start * part.source_stride + columns.start;
        let window = Window { first, row_len: columns.len(), row_stride: part.source_stride };
        source.expand(window, ElementsMut::new(&mut expanded[..rows.len() * columns.len()]));
        let part = Part { source_stride: columns.len(), lines: 0..part.lines.len(), depth: 0..depth.len(), ..*part };
        // SAFETY: all lines and depths of the part were written; both are not empty, and `out` holds them padded.
        unsafe { kernel.pack(&Panel { elements: &expanded, part }, out) }
    }
}
