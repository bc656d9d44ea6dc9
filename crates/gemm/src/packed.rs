//! Operands that are packed once for several products.

use std::any::TypeId;

use crate::blocked::SHARED_BYTES;
use crate::dispatch::{Task, dispatch};
use crate::kernel::{Kernel, Side};
use crate::matrix::Lines;
use crate::narrow::MAX_ROWS;
use crate::panels::{Panels, scratch};
use crate::problem::most_parts;
use crate::simd::Isa;
use crate::{GemmError, Matrix};
use device::{Buffer, DType};

/// An operand of several products, packed once for all of them: hidden states of which several projections are taken, a
/// gradient that flows back to all operands.
///
/// A product with [`Packed::matrix`] has the bits of the product with the matrix itself. One that goes another way than was
/// foreseen here reads the elements as if nothing had been packed, and so do all where the panels would take too much memory.
#[derive(Debug)]
pub struct Packed<'a> {
    matrix: Matrix<'a>,
    panels: Option<PackedPanels>,
}

impl<'a> Packed<'a> {
    /// Packs the `A` of products `A B`.
    ///
    /// # Errors
    /// [`GemmError::Length`] and [`GemmError::RowStride`] if a slice does not hold its matrix, [`GemmError::Device`] without
    /// memory.
    pub fn left(a: Matrix<'a>) -> Result<Self, GemmError> {
        a.check("A")?;
        let is_blocked = a.rows() > MAX_ROWS;
        let panels = is_blocked.then(|| pack(Side::A, a.row_lines(), [a.rows(), a.cols()])).transpose()?.flatten();
        Ok(Self { matrix: a, panels })
    }

    /// Packs the `B` of products `A B` whose `A` have these numbers of `rows`, if several of them need it packed.
    ///
    /// # Errors
    /// As [`Packed::left`].
    pub fn right(b: Matrix<'a>, rows: &[usize]) -> Result<Self, GemmError> {
        b.check("B")?;
        let is_shared = rows.iter().filter(|&&rows| rows > MAX_ROWS).count() > 1;
        let panels = is_shared.then(|| pack(Side::B, b.column_lines(), [b.cols(), b.rows()])).transpose()?.flatten();
        Ok(Self { matrix: b, panels })
    }

    #[cfg(test)]
    pub(crate) fn is_packed(&self) -> bool {
        self.panels.is_some()
    }

    /// The operand.
    pub fn matrix(&self) -> Matrix<'_> {
        self.matrix.with_packed(self.panels.as_ref())
    }
}

/// Panels of all lines of an operand over its whole depth.
#[derive(Debug)]
pub(crate) struct PackedPanels {
    data: Buffer,
    /// Elements from one depth to the next.
    stride: usize,
    /// Elements from one panel to the next.
    pitch: usize,
    side: Side,
    depth_is_contiguous: bool,
    /// Of the [`Kernel`] that packed them.
    kernel: TypeId,
}

impl PackedPanels {
    /// Whether they are what kernel `K` would pack for this side of lines that lie like this.
    pub(crate) fn fit<K: Kernel>(&self, side: Side, depth_is_contiguous: bool) -> bool {
        (self.side, self.depth_is_contiguous, self.kernel) == (side, depth_is_contiguous, TypeId::of::<K>())
    }

    /// The elements of `panel` from `depth` on, and of all panels behind it.
    pub(crate) fn from<K: Kernel>(&self, panel: usize, depth: usize) -> Result<&[K::Packed], GemmError> {
        Ok(&self.data.as_slice::<K::Packed>()?[panel * self.pitch + depth * self.stride..])
    }

    pub(crate) fn pitch(&self) -> usize {
        self.pitch
    }
}

/// Packs all lines, unless there is nothing to pack or too much.
fn pack(side: Side, lines: Lines<'_>, [count, depth]: [usize; 2]) -> Result<Option<PackedPanels>, GemmError> {
    match count > 0 && depth > 0 {
        // A product with an operand of another dtype finds panels that do not fit, and packs its own.
        true => dispatch(depth, lines.values.dtype() == DType::BF16, Pack { side, lines, count, depth }),
        false => Ok(None),
    }
}

/// What to pack.
pub(crate) struct Pack<'a> {
    pub(crate) side: Side,
    pub(crate) lines: Lines<'a>,
    /// Lines.
    pub(crate) count: usize,
    pub(crate) depth: usize,
}

impl Task for Pack<'_> {
    type Output = Result<Option<PackedPanels>, GemmError>;

    fn run<K: Kernel, I: Isa>(self, kernel: K, _isa: I) -> Self::Output {
        self.run_with(kernel)
    }
}

impl Pack<'_> {
    /// Packs for a given kernel.
    pub(crate) fn run_with<K: Kernel>(self, kernel: K) -> Result<Option<PackedPanels>, GemmError> {
        let Self { side, lines, count, depth } = self;
        let panels = Panels::new::<K>(side, count);
        let stride = kernel.stride(side, lines.values.dtype());
        let pitch = depth.next_multiple_of(K::DEPTH_UNIT).saturating_mul(stride);
        let len = panels.count.saturating_mul(pitch);
        if len > SHARED_BYTES / size_of::<K::Packed>() {
            return Ok(None);
        }
        let mut data = scratch::<K::Packed>(len)?;
        panels.in_neighbours(data.as_mut_slice::<K::Packed>()?, pitch, most_parts(), |range, out| {
            panels.pack_together(kernel, lines, range, 0..depth, (out, pitch));
        });
        let depth_is_contiguous = lines.depth_is_contiguous;
        Ok(Some(PackedPanels { data, stride, pitch, side, depth_is_contiguous, kernel: TypeId::of::<K>() }))
    }
}
