//! A checked product, and how it is split.

use std::ops::Range;

use device::DType;
use rayon::prelude::*;

use crate::kernel::Side;
use crate::matrix::Lines;
use crate::scale::Scale;
use crate::{GemmError, Matrix, Update};

/// Slabs for each thread, so that one that is held up is helped by the others.
const SLABS_PER_THREAD: usize = 4;
/// Panels that a slab should have: each of the other operand that is fetched for it then meets as many.
const PANELS_OF_SLAB: usize = 8;
/// Products of fewer multiply-adds are computed by the calling thread alone.
const SERIAL_MULTIPLY_ADDS: usize = 1 << 19;

/// A sum of products whose operands have been checked: `C[m, n] = alpha sum A[m, k] B[k, n] + addend`; no size is zero.
pub(crate) struct Problem<'a> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) alpha: f32,
    pub(crate) terms: &'a [Term<'a>],
    pub(crate) addend: Addend,
    /// What complete elements of `C`, which is then f32, are multiplied by.
    pub(crate) scale: Option<Scale>,
    pub(crate) c: Output,
}

/// One product of the sum.
pub(crate) struct Term<'a> {
    pub(crate) k: usize,
    /// Rows of `A`.
    pub(crate) a: Lines<'a>,
    /// Columns of `B`.
    pub(crate) b: Lines<'a>,
}

impl<'a> Term<'a> {
    pub(crate) fn new(&(a, b): &(Matrix<'a>, Matrix<'a>)) -> Self {
        Self { k: a.cols(), a: a.row_lines(), b: b.column_lines() }
    }

    pub(crate) fn transposed(&self) -> Self {
        Self { k: self.k, a: self.b, b: self.a }
    }

    pub(crate) fn lines(&self, side: Side) -> Lines<'a> {
        match side {
            Side::A => self.a,
            Side::B => self.b,
        }
    }
}

impl Problem<'_> {
    /// The same product seen as `C^T = alpha sum B^T A^T + addend^T`, over `terms` with their sides exchanged.
    pub(crate) fn transposed<'a>(&self, terms: &'a [Term<'a>]) -> Problem<'a> {
        let (addend, scale, c) = (self.addend.transposed(), self.scale.map(Scale::transposed), self.c.transposed());
        Problem { m: self.n, n: self.m, alpha: self.alpha, terms, addend, scale, c }
    }

    /// Into how many parts at most the product is worth splitting.
    pub(crate) fn parts(&self) -> usize {
        let depth: usize = self.terms.iter().map(|term| term.k).sum();
        if self.m.saturating_mul(self.n).saturating_mul(depth) < SERIAL_MULTIPLY_ADDS { 1 } else { most_parts() }
    }

    /// The same for a side of `panels`.
    pub(crate) fn parts_of(&self, panels: usize) -> usize {
        let threads = rayon::current_num_threads();
        let slabs_per_thread = (panels / PANELS_OF_SLAB / threads).clamp(1, SLABS_PER_THREAD);
        self.parts().min(threads * slabs_per_thread)
    }
}

/// The first element of `C`, which threads write disjoint parts of.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    /// Of an element of `dtype`.
    pub(crate) start: *mut u8,
    pub(crate) dtype: DType,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

// SAFETY: stands for an exclusive borrow of `C`; threads that share it write disjoint elements.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// The same of the transpose of `C`.
    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The part from `row` and `col` on.
    pub(crate) fn at(self, row: usize, col: usize) -> Self {
        let elements = row * self.row_stride + col * self.col_stride;
        Self { start: self.start.wrapping_add(elements * self.dtype.size_bytes()), ..self }
    }
}

/// What is added to the product: nothing, a matrix, or one row for all rows.
#[derive(Clone, Copy)]
pub(crate) struct Addend {
    /// Null for nothing.
    pub(crate) start: *const f32,
    /// Zero for one row.
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

// SAFETY: stands for a part of `C`, as `Output` does, or for a shared borrow of a bias.
unsafe impl Send for Addend {}
// SAFETY: as above.
unsafe impl Sync for Addend {}

impl Addend {
    pub(crate) fn new(update: Update<'_>, c: Output) -> Self {
        match update {
            Update::Overwrite => Self { start: std::ptr::null(), row_stride: 0, col_stride: 1 },
            Update::Accumulate => Self::of(c),
            Update::Bias(bias) => Self { start: bias.as_ptr(), row_stride: 0, col_stride: 1 },
        }
    }

    /// The same for the transpose of `C`.
    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// What `C` holds, which is f32: a product that adds to another `C` never runs on it.
    pub(crate) fn of(c: Output) -> Self {
        Self { start: c.start.cast(), row_stride: c.row_stride, col_stride: c.col_stride }
    }

    /// The part from `row` and `col` on.
    pub(crate) fn at(self, row: usize, col: usize) -> Self {
        if self.start.is_null() {
            return self;
        }
        Self { start: self.start.wrapping_add(row * self.row_stride + col * self.col_stride), ..self }
    }
}

/// Parts that keep all threads busy.
pub(crate) fn most_parts() -> usize {
    rayon::current_num_threads() * SLABS_PER_THREAD
}

/// Calls `body` with up to `parts` consecutive ranges that cover `0..count`, in parallel.
pub(crate) fn in_slabs(
    count: usize,
    parts: usize,
    body: impl Fn(Range<usize>) -> Result<(), GemmError> + Sync,
) -> Result<(), GemmError> {
    let parts = parts.min(count);
    if parts == 1 {
        return body(0..count);
    }
    (0..parts).into_par_iter().try_for_each(|i| body(count * i / parts..count * (i + 1) / parts))
}
