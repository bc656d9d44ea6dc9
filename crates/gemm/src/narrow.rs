//! Products with few rows, as in decoding one token: `B` is read once, in place, as fast as memory delivers it.

use std::ops::Range;

use device::{Buffer, DType, Device, Element, Elements};

use crate::GemmError;
use crate::matrix::Lines;
use crate::problem::{Addend, Output, Problem, Term, in_slabs};
use crate::simd::{Isa, MAX_LANES, Source};

/// Products with more rows than this are packed and blocked.
pub(crate) const MAX_ROWS: usize = 8;
/// Columns that share the loads of `A` in dot products, and the unit in which columns are split.
pub(crate) const DOT_COLS: usize = 4;
/// Columns whose sums stay in the first-level cache while rows of `B` go by, and the unit in which columns are split.
pub(crate) const AXPY_COLS: usize = 256;

/// Columns of `C` that one thread computes.
pub(crate) struct Block<'a, T> {
    /// `A`, widened: `[rows, a_stride]`, zero from `depth` on.
    pub(crate) a: &'a [f32],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) b: &'a [T],
    pub(crate) b_stride: usize,
    pub(crate) cols: Range<usize>,
    pub(crate) c: Output,
    pub(crate) alpha: f32,
    pub(crate) addend: Addend,
}

impl<T> Block<'_, T> {
    /// # Safety
    /// `row < rows`, `col` is in `cols`, and this block's part of `C` is accessed by nothing else.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, row: usize, col: usize, value: f32) {
        // SAFETY: the caller's.
        unsafe {
            let addend = self.addend.at(row, col).start;
            let to = self.c.at(row, col).start;
            *to = if addend.is_null() { self.alpha * value } else { *addend + self.alpha * value };
        }
    }
}

/// Computes the product.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile; `m <= MAX_ROWS`.
pub(crate) unsafe fn run<I: Isa>(isa: I, p: &Problem) -> Result<(), GemmError> {
    let mut addend = p.addend;
    for term in p.terms {
        // SAFETY: the caller's.
        unsafe {
            match term.b.elements {
                Elements::F32(b) => run_term(isa, p, term, b, addend)?,
                Elements::BF16(b) => run_term(isa, p, term, b, addend)?,
                Elements::F16(b) => run_term(isa, p, term, b, addend)?,
            }
        }
        addend = Addend::of(p.c);
    }
    Ok(())
}

/// # Safety
/// As for [`run`].
unsafe fn run_term<I: Isa, T: Source>(
    isa: I,
    p: &Problem,
    term: &Term,
    b: &[T],
    addend: Addend,
) -> Result<(), GemmError> {
    let (depth, b_stride, dots) = (term.k, term.b.stride, term.b.depth_is_contiguous);
    let a_stride = depth.next_multiple_of(MAX_LANES);
    let mut a = Buffer::zeroed(Device::Cpu, DType::F32, p.m * a_stride)?;
    widen(&term.a, depth, a_stride, a.f32_mut()?);
    let a = a.f32()?;
    let unit = if dots { DOT_COLS } else { AXPY_COLS };
    in_slabs(p.n.div_ceil(unit), p.parts(), |units| {
        let cols = units.start * unit..p.n.min(units.end * unit);
        let (c, alpha) = (p.c, p.alpha);
        let block = Block { a, a_stride, rows: p.m, depth, b, b_stride, cols, c, alpha, addend };
        // SAFETY: `isa` proves the instruction set; the operands were checked; slabs have no column in common.
        unsafe { if dots { isa.dot(&block) } else { isa.axpy(&block) } }
        Ok(())
    })
}

/// Writes the lines, `depth` elements each, `stride` apart.
fn widen(lines: &Lines, depth: usize, stride: usize, out: &mut [f32]) {
    fn run<T: Element>(from: &[T], lines: &Lines, depth: usize, stride: usize, out: &mut [f32]) {
        for (i, out) in out.chunks_exact_mut(stride).enumerate() {
            if lines.depth_is_contiguous {
                let line = &from[i * lines.stride..][..depth];
                out.iter_mut().zip(line).for_each(|(to, from)| *to = from.to_f32());
            } else {
                let line = from[i..].iter().step_by(lines.stride.max(1));
                out[..depth].iter_mut().zip(line).for_each(|(to, from)| *to = from.to_f32());
            }
        }
    }
    match lines.elements {
        Elements::F32(from) => run(from, lines, depth, stride, out),
        Elements::BF16(from) => run(from, lines, depth, stride, out),
        Elements::F16(from) => run(from, lines, depth, stride, out),
    }
}
