//! Products with few rows, as in decoding one token: `B` is read once, in place, as fast as memory delivers it.

use std::ops::Range;

use device::{Buffer, DType, Device, Element, Elements};

use crate::GemmError;
use crate::isa::{Isa, MAX_LANES, Source, Vector, load_partial, sum};
use crate::matrix::Lines;
use crate::problem::{Addend, Output, Problem, in_slabs};

/// Products with more rows than this are packed and blocked.
pub(crate) const MAX_ROWS: usize = 8;
/// Columns that share the loads of `A` in [`dot`].
const DOT_COLS: usize = 4;
/// Rows that share the loads of `B` in [`dot`]: with [`DOT_COLS`], as many sums as the smallest register file holds.
const DOT_ROWS: usize = 2;
/// Columns whose sums [`axpy`] keeps in the first-level cache, and the unit in which columns are split.
const AXPY_COLS: usize = 256;
/// Depths that [`axpy`] takes for each load of a sum.
const AXPY_DEPTHS: usize = 4;

/// Columns of `C` that one thread computes.
pub(crate) struct Block<'a, T> {
    /// `A`, widened: `[rows, a_stride]`, zero from `depth` on.
    a: &'a [f32],
    a_stride: usize,
    rows: usize,
    depth: usize,
    b: &'a [T],
    b_stride: usize,
    cols: Range<usize>,
    c: Output,
    alpha: f32,
    addend: Addend,
}

impl<T> Block<'_, T> {
    /// # Safety
    /// `row < rows`, `col` is in `cols`, and this block's part of `C` is accessed by nothing else.
    #[inline(always)]
    unsafe fn write(&self, row: usize, col: usize, value: f32) {
        // SAFETY: the caller's.
        unsafe {
            let addend = self.addend.at(row, col).start;
            let to = self.c.start.add(row * self.c.row_stride + col);
            *to = if addend.is_null() { self.alpha * value } else { *addend + self.alpha * value };
        }
    }
}

/// Computes the product.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile; `m <= MAX_ROWS`.
pub(crate) unsafe fn run<I: Isa>(isa: I, p: &Problem) -> Result<(), GemmError> {
    match p.b.elements {
        // SAFETY: the caller's.
        Elements::F32(b) => unsafe { run_typed(isa, p, b) },
        // SAFETY: the caller's.
        Elements::BF16(b) => unsafe { run_typed(isa, p, b) },
        // SAFETY: the caller's.
        Elements::F16(b) => unsafe { run_typed(isa, p, b) },
    }
}

/// # Safety
/// As for [`run`].
unsafe fn run_typed<I: Isa, T: Source>(isa: I, p: &Problem, b: &[T]) -> Result<(), GemmError> {
    let a_stride = p.k.next_multiple_of(MAX_LANES);
    let mut a = Buffer::zeroed(Device::Cpu, DType::F32, p.m * a_stride)?;
    widen(&p.a, p.k, a_stride, a.f32_mut()?);
    let a = a.f32()?;
    let unit = if p.b.depth_is_contiguous { DOT_COLS } else { AXPY_COLS };
    in_slabs(p.n.div_ceil(unit), p.parts(), |units| {
        let cols = units.start * unit..p.n.min(units.end * unit);
        let (depth, b_stride) = (p.k, p.b.stride);
        let (c, alpha, addend) = (p.c, p.alpha, p.addend);
        let block = Block { a, a_stride, rows: p.m, depth, b, b_stride, cols, c, alpha, addend };
        // SAFETY: `isa` proves the instruction set; the operands were checked; slabs have no column in common.
        unsafe { if p.b.depth_is_contiguous { isa.dot(&block) } else { isa.axpy(&block) } }
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

/// Dot products of rows of `A` with columns of `B` whose elements are neighbours.
///
/// # Safety
/// The instruction set is available; the block's operands and its part of `C` exist, the latter for it alone.
#[inline(always)]
pub(crate) unsafe fn dot<V: Vector, T: Source>(block: &Block<T>) {
    let mut col = block.cols.start;
    // SAFETY: the caller's; rows and columns stay within the block.
    unsafe {
        while col + DOT_COLS <= block.cols.end {
            dot_rows::<V, T, DOT_COLS>(block, col);
            col += DOT_COLS;
        }
        while col < block.cols.end {
            dot_rows::<V, T, 1>(block, col);
            col += 1;
        }
    }
}

/// # Safety
/// As for [`dot`], with `col..col + COLS` in the block.
#[inline(always)]
unsafe fn dot_rows<V: Vector, T: Source, const COLS: usize>(block: &Block<T>, col: usize) {
    let mut row = 0;
    // SAFETY: the caller's; rows stay within the block.
    unsafe {
        while row + DOT_ROWS <= block.rows {
            dot_tile::<V, T, DOT_ROWS, COLS>(block, row, col);
            row += DOT_ROWS;
        }
        if row < block.rows {
            dot_tile::<V, T, 1, COLS>(block, row, col);
        }
    }
}

/// # Safety
/// As for [`dot`], with `row..row + ROWS` and `col..col + COLS` in the block.
#[inline(always)]
unsafe fn dot_tile<V: Vector, T: Source, const ROWS: usize, const COLS: usize>(
    block: &Block<T>,
    row: usize,
    col: usize,
) {
    let whole = block.depth / V::LANES * V::LANES;
    // SAFETY: whole registers end at `whole <= depth`, the rest is loaded to `depth` only, and rows of `a` are zero
    // from `depth` to a multiple of the widest register.
    unsafe {
        let a = block.a.as_ptr().add(row * block.a_stride);
        let b = block.b.as_ptr().add(col * block.b_stride);
        let mut sums = [[V::zero(); COLS]; ROWS];
        let mut step = |k: usize, columns: [V; COLS]| {
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = V::load(a.add(i * block.a_stride + k));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = a.mul_add(column, *sum);
                }
            }
        };
        let mut k = 0;
        while k < whole {
            let mut columns = [V::zero(); COLS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = T::load::<V>(b.add(j * block.b_stride + k));
            }
            step(k, columns);
            k += V::LANES;
        }
        if whole < block.depth {
            let mut columns = [V::zero(); COLS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = load_partial::<V, T>(b.add(j * block.b_stride + whole), block.depth - whole);
            }
            step(whole, columns);
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, lanes) in sums.into_iter().enumerate() {
                block.write(row + i, col + j, sum(lanes));
            }
        }
    }
}

/// Sums of rows of `B` whose elements are neighbours, weighted by elements of `A`.
///
/// # Safety
/// The instruction set is available; the block's operands and its part of `C` exist, the latter for it alone.
#[inline(always)]
pub(crate) unsafe fn axpy<V: Vector, T: Source>(block: &Block<T>) {
    for start in block.cols.clone().step_by(AXPY_COLS) {
        let cols = AXPY_COLS.min(block.cols.end - start);
        let mut sums = [0.0f32; MAX_ROWS * AXPY_COLS];
        let mut k = 0;
        // SAFETY: depths stay below `depth` and columns within the block; `sums` holds `AXPY_COLS`, a multiple of the
        // lanes, for each of at most `MAX_ROWS` rows.
        unsafe {
            while k + AXPY_DEPTHS <= block.depth {
                axpy_depths::<V, T, AXPY_DEPTHS>(block, k, start, cols, &mut sums);
                k += AXPY_DEPTHS;
            }
            while k < block.depth {
                axpy_depths::<V, T, 1>(block, k, start, cols, &mut sums);
                k += 1;
            }
            for (row, sums) in sums.chunks_exact(AXPY_COLS).take(block.rows).enumerate() {
                for (j, &value) in sums[..cols].iter().enumerate() {
                    block.write(row, start + j, value);
                }
            }
        }
    }
}

/// Adds the products of depths `k..k + DEPTHS` to the sums.
///
/// # Safety
/// As for [`axpy`], with those depths in the operands and `start..start + cols` in the block.
#[inline(always)]
unsafe fn axpy_depths<V: Vector, T: Source, const DEPTHS: usize>(
    block: &Block<T>,
    k: usize,
    start: usize,
    cols: usize,
    sums: &mut [f32; MAX_ROWS * AXPY_COLS],
) {
    // SAFETY: the caller's.
    unsafe {
        let b = block.b.as_ptr().add(k * block.b_stride + start);
        for v in (0..cols).step_by(V::LANES) {
            let mut rows_of_b = [V::zero(); DEPTHS];
            for (j, row) in rows_of_b.iter_mut().enumerate() {
                let from = b.add(j * block.b_stride + v);
                *row = if cols - v >= V::LANES { T::load::<V>(from) } else { load_partial::<V, T>(from, cols - v) };
            }
            for row in 0..block.rows {
                let to = sums.as_mut_ptr().add(row * AXPY_COLS + v);
                let mut sum = V::load(to);
                for (j, vector) in rows_of_b.into_iter().enumerate() {
                    sum = V::splat(block.a[row * block.a_stride + k + j]).mul_add(vector, sum);
                }
                sum.store(to);
            }
        }
    }
}
