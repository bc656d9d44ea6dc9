//! Few rows against a matrix of bf16 whose tiles are loaded from where it lies, as in writing several texts at once.
//!
//! A product of few rows is reading `B`, as fast as memory delivers it; to pack it would be to read and write it first. Where
//! the elements of a column of `B` are neighbours, 16 columns by a depth of 32 are a tile as they lie, if it is the *first*
//! operand: `C^T = B^T A^T` is computed, 32 columns of `C` at a time, from the packed rows of `A`, and turned before it is
//! written. While a panel of columns passes, the next one, which lies behind it, is fetched in the order that it lies in.
//!
//! Columns that are expanded as they are read are tiles of what they are expanded to. Depths behind the last 32, columns
//! behind the last 16, and other terms, if they are shallow, are packed.

mod part;
mod term;

use std::ops::RangeInclusive;

use half::bf16;

use crate::GemmError;
use crate::bf16_tiles::LINES;
use crate::kernel::{Kernel, Side};
use crate::narrow::in_parts;
use crate::panels::Panels;
use crate::problem::Problem;
use part::Part;
use term::{Packed, Whole};

/// Rows that this is used for: fewer are as fast with vectors, and more pay for packing.
const ROWS: RangeInclusive<usize> = 3..=64;
/// Depth at most of a product that is packed here, beside one that is not: that of a low rank.
const MOST_PACKED_DEPTH: usize = 512;
/// Elements of `B` in a part of the work, where there are so many for each thread.
const PART_ELEMENTS: usize = 1 << 20;
/// The same at least.
const LEAST_PART_ELEMENTS: usize = 1 << 16;

/// A kernel over tiles of bf16, panels of 32 lines in units of 16, that takes the tiles of one operand from where they lie.
///
/// A value of an implementing type is proof that this machine has AVX-512F, too.
pub(crate) trait InPlace: Kernel<Packed = bf16> {
    /// The product of columns, which become rows of the sums, and of rows, which become their columns. Sums of columns and rows
    /// that do not matter are any numbers.
    ///
    /// # Safety
    /// Within [`Kernel::session`]; the columns can be read.
    unsafe fn columns(self, columns: &Columns, rows: &Rows, accumulate: bool, sums: &mut Square);
}

/// Sums of a tile: 32 rows of 32.
#[repr(align(64))]
pub(crate) struct Square(pub(crate) [f32; LINES * LINES]);

/// Bytes of a cache line.
pub(crate) const CACHE_LINE: usize = 64;

/// Columns of `B` where they lie: 16, or 32.
pub(crate) struct Columns {
    pub(crate) first: *const bf16,
    /// Elements from one column to the next.
    pub(crate) stride: usize,
    /// Whether there are 32.
    pub(crate) second: bool,
    /// A multiple of 32, not zero.
    pub(crate) depth: usize,
    /// What is fetched ahead, a hint: for each depth of 32 so many cache lines.
    pub(crate) next: *const bf16,
    pub(crate) ahead: usize,
}

/// A panel of rows of `A`, packed over that depth.
pub(crate) struct Rows<'a> {
    pub(crate) packed: &'a [bf16],
    /// Tiles of a number.
    pub(crate) pieces: usize,
    /// Whether more than 16 matter.
    pub(crate) second: bool,
}

impl Rows<'_> {
    /// Whether they were packed over the depth of these columns.
    pub(crate) fn reach(&self, columns: &Columns) -> bool {
        columns.depth > 0 && self.packed.len() >= columns.depth * LINES * self.pieces
    }
}

/// Whether a product is computed here.
pub(crate) fn is_for(p: &Problem) -> bool {
    ROWS.contains(&p.m)
        && p.n >= LINES
        && p.terms.iter().any(|term| Whole::of(term).is_some())
        && p.terms.iter().all(|term| term.k <= MOST_PACKED_DEPTH || Whole::of(term).is_some())
}

/// Computes a product that [`is_for`] this.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile; it is f32 unless there is nothing in
/// it to add to.
pub(crate) unsafe fn run<K: InPlace>(kernel: K, p: &Problem) -> Result<(), GemmError> {
    let (rows, columns) = (Panels::new::<K>(Side::B, p.m), Panels::new::<K>(Side::A, p.n));
    let terms = p.terms.iter().map(|term| Packed::new(kernel, rows, term)).collect::<Result<Vec<_>, _>>()?;
    let elements = p.n.saturating_mul(p.terms.iter().map(|term| term.k).sum());
    let threads = (elements / LEAST_PART_ELEMENTS).clamp(1, rayon::current_num_threads());
    let parts = (elements / PART_ELEMENTS).max(threads).min(columns.count);
    in_parts(columns.count, parts, |panels| {
        let part = Part { kernel, p, terms: &terms, rows, columns };
        // SAFETY: parts are disjoint, and the rest is the caller's.
        unsafe { part.run(panels) }
    })
}
