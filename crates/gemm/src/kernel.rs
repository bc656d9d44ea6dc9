//! What the blocked product needs of the machine: how panels are packed, and a tile computed from two of them.

use std::ops::Range;

use device::{DType, Element};

use crate::GemmError;
use crate::problem::{Addend, Output, Problem};
use crate::simd::Source;

/// A kind of packed panel and the micro-kernel that reads it.
///
/// A value of an implementing type is proof that this machine can run it.
pub(crate) trait Kernel: Copy + Send + Sync + 'static {
    /// Element of a packed panel.
    type Packed: Element;
    /// Rows of `A` and columns of `B` that a panel holds at most.
    const PANEL: [usize; 2];
    /// Panels start at multiples of this many rows or columns.
    const PANEL_UNIT: [usize; 2];
    /// Blocks start at multiples of this depth and are padded to one with zeros.
    const DEPTH_UNIT: usize;
    /// Panels of `A` and of `B` that meet at a time at most: their sums, with those panels over one block of depth, fit the
    /// second-level cache.
    const BLOCK_PANELS: [usize; 2];
    /// Whose panels stay in the first-level cache while those of the other operand go by.
    const STAYS: Side;
    /// Bytes of such a panel at most, unless a single block of depth is more.
    const STAYING_BYTES: usize;

    /// Packed elements of one panel for each depth.
    fn stride(self, side: Side, dtype: DType) -> usize;

    /// Packed elements that a tile of such operands fetches ahead for each depth.
    fn ahead(self, dtypes: [DType; 2]) -> usize;

    /// Depth of a block at most, for operands of these dtypes: a multiple of [`Kernel::DEPTH_UNIT`].
    fn block_depth(self, dtypes: [DType; 2]) -> usize;

    /// Packs one panel over a range of the depth; `out` holds the padded depth times the stride.
    ///
    /// # Safety
    /// The panel's lines and depth are within the operand; both are not empty.
    unsafe fn pack<T: Source>(self, panel: &Panel<T>, out: &mut [Self::Packed]);

    /// Computes one tile.
    ///
    /// # Safety
    /// Within [`Kernel::session`]; panels are packed by this kernel over the tile's depth; nothing else accesses the sums.
    unsafe fn tile(self, tile: &Tile<Self::Packed>);

    /// Writes complete sums to `C`.
    ///
    /// # Safety
    /// `c` and an addend are valid for the rows and columns of the sums, and nothing else accesses them.
    unsafe fn write(self, sums: &Sums);

    /// Whether the product is better computed as `C^T = B^T A^T`.
    fn prefers_transposed(self, p: &Problem) -> bool;

    /// What computes the product without packing `B`, where that is better.
    fn in_place(self, _p: &Problem) -> Option<Compute<Self>> {
        None
    }

    /// Runs `body`, in which this thread may compute tiles.
    fn session<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }
}

/// Computes a product and writes `C` once.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile; it is f32 unless there is nothing in
/// it to add to.
pub(crate) type Compute<K> = unsafe fn(kernel: K, p: &Problem) -> Result<(), GemmError>;

/// Which operand a panel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Rows of `A`.
    A,
    /// Columns of `B`.
    B,
}

/// Which part of an operand becomes one panel.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) side: Side,
    /// From line to line if the depth is contiguous, from depth to depth otherwise.
    pub(crate) source_stride: usize,
    pub(crate) depth_is_contiguous: bool,
    pub(crate) lines: Range<usize>,
    pub(crate) depth: Range<usize>,
}

/// That part, with the operand's elements.
pub(crate) struct Panel<'a, T> {
    pub(crate) elements: &'a [T],
    pub(crate) part: Part,
}

impl<T> Panel<'_, T> {
    /// The element of line `lines.start + line` at depth `depth.start + depth`.
    #[inline(always)]
    pub(crate) fn at(&self, line: usize, depth: usize) -> *const T {
        let Part { lines, depth: depths, source_stride, depth_is_contiguous, .. } = &self.part;
        let (line, depth) = (lines.start + line, depths.start + depth);
        let (major, minor) = if *depth_is_contiguous { (line, depth) } else { (depth, line) };
        self.elements.as_ptr().wrapping_add(major * source_stride + minor)
    }
}

/// Two packed panels and the sums that their product goes to.
pub(crate) struct Tile<P> {
    /// Depth of both panels.
    pub(crate) depth: usize,
    pub(crate) a: *const P,
    pub(crate) b: *const P,
    /// The dtypes that the panels were packed from: into as many pieces as that takes, where numbers are split.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
    pub(crate) dtypes: [DType; 2],
    /// As many rows as a panel of `A` has at most, of as many columns as a panel of `B` has at most, without gaps.
    pub(crate) sums: *mut f32,
    /// Rows and columns that matter, not zero. Others may be computed or not.
    pub(crate) size: [usize; 2],
    /// Whether the product is added to the sums, rather than written over them.
    pub(crate) accumulate: bool,
    /// Where the sums of the next tile are: a hint.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
    pub(crate) next_sums: *const f32,
    /// What is read next, [`Kernel::ahead`] elements for each depth: a hint.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
    pub(crate) next: *const P,
}

/// Complete sums of one tile, and where `alpha` times them plus the addend goes.
pub(crate) struct Sums<'a> {
    /// Rows of `stride`.
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    /// Columns that matter.
    pub(crate) cols: usize,
    pub(crate) alpha: f32,
    /// From the tile's first element on.
    pub(crate) addend: Addend,
    /// From the tile's first element on.
    pub(crate) c: Output,
}
