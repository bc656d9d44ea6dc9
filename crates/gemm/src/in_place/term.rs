//! One product of the sum: rows of `A` that were packed, and columns of `B` that are tiles as they lie.

use device::{Buffer, DType, Elements};
use half::bf16;

use super::InPlace;
use crate::bf16_tiles::{DEPTH, LINES, TILE, pieces};
use crate::kernel::Side;
use crate::matrix::Values;
use crate::panels::{Panels, scratch};
use crate::problem::Term;
use crate::{Expand, GemmError};

/// Columns of bf16 whose elements are neighbours.
#[derive(Clone, Copy)]
pub(super) enum Whole<'a> {
    Stored(&'a [bf16]),
    Expanded(&'a dyn Expand),
}

impl<'a> Whole<'a> {
    /// Those of `B`, if they are such.
    pub(super) fn of(term: &Term<'a>) -> Option<Self> {
        match term.b.values {
            _ if !term.b.depth_is_contiguous || term.k < DEPTH => None,
            Values::Stored(Elements::BF16(elements)) => Some(Self::Stored(elements)),
            Values::Expanded(source) if source.dtype() == DType::BF16 => Some(Self::Expanded(source)),
            _ => None,
        }
    }
}

/// A term with its rows of `A`, packed.
pub(super) struct Packed<'a> {
    pub(super) term: &'a Term<'a>,
    rows: Buffer,
    /// Elements from one panel of rows to the next.
    pitch: usize,
    whole: Option<Whole<'a>>,
}

impl<'a> Packed<'a> {
    pub(super) fn new<K: InPlace>(kernel: K, panels: Panels, term: &'a Term<'a>) -> Result<Self, GemmError> {
        let pitch = term.k.next_multiple_of(DEPTH) * kernel.stride(Side::B, term.a.values.dtype());
        let mut rows = scratch::<bf16>(panels.count * pitch)?;
        panels.in_neighbours(rows.as_mut_slice::<bf16>()?, pitch, panels.count, |range, out| {
            panels.pack_together(kernel, term.a, range, 0..term.k, (out, pitch));
        });
        Ok(Self { term, rows, pitch, whole: Whole::of(term) })
    }

    /// Into how many bf16 the numbers of `A` were cut.
    pub(super) fn pieces(&self) -> usize {
        pieces(self.term.a.values.dtype())
    }

    /// A panel of rows from a depth on, which is a multiple of 32.
    pub(super) fn rows(&self, panel: usize, depth: usize) -> Result<&[bf16], GemmError> {
        Ok(&self.rows.as_slice::<bf16>()?[panel * self.pitch..][..self.pitch][depth * LINES * self.pieces()..])
    }

    /// So many columns in whole tiles, if there are any, and their depth.
    pub(super) fn whole(&self, columns: usize) -> (Option<Whole<'a>>, usize) {
        match self.whole.filter(|_| columns.is_multiple_of(TILE)) {
            Some(whole) => (Some(whole), self.term.k / DEPTH * DEPTH),
            None => (None, 0),
        }
    }

    /// Elements that so many columns are expanded to, and that the rest of their depth is packed to.
    pub(super) fn sizes<K: InPlace>(&self, kernel: K, columns: usize) -> [usize; 2] {
        let (whole, depth) = self.whole(columns);
        let rest = (self.term.k - depth).next_multiple_of(DEPTH);
        [
            if matches!(whole, Some(Whole::Expanded(_))) { columns * depth } else { 0 },
            rest * kernel.stride(Side::A, self.term.b.values.dtype()),
        ]
    }
}
