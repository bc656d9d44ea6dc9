//! Products with few rows, as in decoding one token: `B` is read once, in place, as fast as memory delivers it.

mod expanded;

use std::ops::Range;
use std::sync::OnceLock;

use device::{Buffer, DType, Device, Elements, parallel};
use half::{bf16, f16};

use crate::matrix::{Lines, Values};
use crate::problem::{Addend, Output, Problem, Term};
use crate::simd::{Isa, MAX_LANES, Rounded, Source};
use crate::{GemmError, Window};

/// Products with more rows than this are packed and blocked.
pub(crate) const MAX_ROWS: usize = 8;
/// Columns that share the loads of `A` in dot products, and the unit in which columns are split.
pub(crate) const DOT_COLS: usize = 4;
/// Columns whose sums stay in the first-level cache while rows of `B` go by, and the unit in which columns are split.
pub(crate) const AXPY_COLS: usize = 128;
/// Elements of `B` that a part of the work reads at least: some microseconds of it.
const PART_ELEMENTS: usize = 1 << 15;

/// Sums of [`AXPY_COLS`] columns, row after row.
pub(crate) type StripSums = [f32; MAX_ROWS * AXPY_COLS];
const NO_SUMS: StripSums = [0.0; MAX_ROWS * AXPY_COLS];

/// Columns of `C` that one thread computes.
struct Slab<'a> {
    /// `A`, widened: `[rows, a_stride]`, zero from `depth` on.
    a: &'a [f32],
    a_stride: usize,
    rows: usize,
    depth: usize,
    b_stride: usize,
    /// Whether the elements of one column of `B` are neighbours.
    dots: bool,
    cols: Range<usize>,
    c: Output,
    alpha: f32,
    addend: Addend,
}

/// Columns of `C` with the part of `B` that they are computed from.
pub(crate) struct Block<'a, T> {
    /// As in the slab.
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
            let to = self.c.at(row, col).start.cast::<f32>();
            *to = if addend.is_null() { self.alpha * value } else { *addend + self.alpha * value };
        }
    }

    /// Writes at most [`AXPY_COLS`] columns.
    ///
    /// # Safety
    /// This block's part of `C` is accessed by nothing else.
    unsafe fn write_strip(&self, sums: &StripSums) {
        for (row, sums) in sums.chunks_exact(AXPY_COLS).take(self.rows).enumerate() {
            for (col, &value) in self.cols.clone().zip(sums) {
                // SAFETY: the caller's; `row` and `col` are the block's.
                unsafe { self.write(row, col, value) };
            }
        }
    }
}

/// Computes the product.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` f32 elements, which nothing else accesses meanwhile; `m <= MAX_ROWS`.
pub(crate) unsafe fn run<I: Isa>(isa: I, p: &Problem) -> Result<(), GemmError> {
    let mut addend = p.addend;
    for term in p.terms {
        // SAFETY: the caller's.
        unsafe { run_term(isa, p, term, addend)? };
        addend = Addend::of(p.c);
    }
    if let Some(scale) = p.scale {
        // SAFETY: the caller's; the terms have been added.
        unsafe { scale.apply(p.c, [0, 0], [p.m, p.n]) };
    }
    Ok(())
}

/// # Safety
/// As for [`run`].
unsafe fn run_term<I: Isa>(isa: I, p: &Problem, term: &Term, addend: Addend) -> Result<(), GemmError> {
    let (depth, b_stride, dots) = (term.k, term.b.stride, term.b.depth_is_contiguous);
    let a_stride = depth.next_multiple_of(MAX_LANES);
    let mut a = Buffer::zeroed(Device::Cpu, DType::F32, p.m * a_stride)?;
    widen(&term.a, depth, a_stride, a.f32_mut()?)?;
    let a = a.f32()?;
    let unit = if dots { DOT_COLS } else { AXPY_COLS };
    let units = p.n.div_ceil(unit);
    let parts = (p.n.saturating_mul(depth) / PART_ELEMENTS).clamp(1, units);
    in_parts(units, parts, |units| {
        let cols = units.start * unit..p.n.min(units.end * unit);
        let slab = Slab { a, a_stride, rows: p.m, depth, b_stride, dots, cols, c: p.c, alpha: p.alpha, addend };
        // SAFETY: `isa` proves the instruction set; the operands were checked; slabs have no column in common.
        unsafe {
            match term.b.values {
                Values::Stored(Elements::F32(b)) => stored(isa, slab, b),
                Values::Stored(Elements::BF16(b)) => stored(isa, slab, b),
                Values::Stored(Elements::F16(b)) => stored(isa, slab, b),
                Values::Rounded(b) => stored(isa, slab, bytemuck::cast_slice::<f32, Rounded>(b)),
                Values::Expanded(source) => match source.dtype() {
                    DType::F32 => expanded::run::<I, f32>(isa, &slab, source)?,
                    DType::BF16 => expanded::run::<I, bf16>(isa, &slab, source)?,
                    DType::F16 => expanded::run::<I, f16>(isa, &slab, source)?,
                },
            }
        }
        Ok(())
    })
}

/// Calls `body` with `parts` consecutive ranges that cover `0..count`: in parallel, for loops of microseconds.
pub(crate) fn in_parts(
    count: usize,
    parts: usize,
    body: impl Fn(Range<usize>) -> Result<(), GemmError> + Sync,
) -> Result<(), GemmError> {
    let error = OnceLock::new();
    parallel::brief(parts, |i| {
        if let Err(failed) = body(count * i / parts..count * (i + 1) / parts) {
            let _ = error.set(failed);
        }
    });
    error.into_inner().map_or(Ok(()), Err)
}

/// Computes a slab from `B` where it lies.
///
/// # Safety
/// The instruction set is available; the slab's operands and its part of `C` exist, the latter for it alone.
unsafe fn stored<I: Isa, T: Source>(isa: I, slab: Slab, b: &[T]) {
    let Slab { a, a_stride, rows, depth, b_stride, dots, cols, c, alpha, addend } = slab;
    let block = |cols| Block { a, a_stride, rows, depth, b, b_stride, cols, c, alpha, addend };
    if dots {
        // SAFETY: the caller's.
        return unsafe { isa.dot(&block(cols)) };
    }
    for start in cols.clone().step_by(AXPY_COLS) {
        let (block, mut sums) = (block(start..cols.end.min(start + AXPY_COLS)), NO_SUMS);
        // SAFETY: the caller's; columns stay within the slab.
        unsafe {
            isa.axpy(&block, &mut sums);
            block.write_strip(&sums);
        }
    }
}

/// Writes the lines, `depth` elements each, `stride` apart.
fn widen(lines: &Lines, depth: usize, stride: usize, out: &mut [f32]) -> Result<(), GemmError> {
    fn run<T: Source>(from: &[T], lines: &Lines, depth: usize, stride: usize, out: &mut [f32]) {
        for (i, out) in out.chunks_exact_mut(stride).enumerate() {
            if lines.depth_is_contiguous {
                let line = &from[i * lines.stride..][..depth];
                out.iter_mut().zip(line).for_each(|(to, from)| *to = from.widened());
            } else {
                let line = from[i..].iter().step_by(lines.stride.max(1));
                out[..depth].iter_mut().zip(line).for_each(|(to, from)| *to = from.widened());
            }
        }
    }
    match lines.values {
        Values::Stored(Elements::F32(from)) => run(from, lines, depth, stride, out),
        Values::Stored(Elements::BF16(from)) => run(from, lines, depth, stride, out),
        Values::Stored(Elements::F16(from)) => run(from, lines, depth, stride, out),
        Values::Rounded(from) => run(bytemuck::cast_slice::<f32, Rounded>(from), lines, depth, stride, out),
        // No more than `MAX_ROWS` lines.
        Values::Expanded(source) => {
            let len = source.len();
            let mut whole = Buffer::scratch(Device::Cpu, source.dtype(), len)?;
            source.expand(Window { first: 0, row_len: len, row_stride: len }, whole.elements_mut()?);
            return widen(&Lines { values: Values::Stored(whole.elements()?), ..*lines }, depth, stride, out);
        }
    }
    Ok(())
}
