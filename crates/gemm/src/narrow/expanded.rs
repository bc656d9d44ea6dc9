//! Columns of a `B` that is expanded as it is read: so much of it at a time that it stays in the cache until it is used.

use std::ops::Range;

use device::{Buffer, Device, Element, ElementsMut};

use super::{AXPY_COLS, Block, DOT_COLS, NO_SUMS, Slab};
use crate::simd::{Isa, Source};
use crate::{Expand, GemmError, Window};

/// Depths of [`AXPY_COLS`] columns that fit the first-level cache: a multiple of the depths that sums are loaded for.
const AXPY_DEPTHS: usize = 32;

/// Computes a slab, in the same order as from memory.
///
/// # Safety
/// As for [`super::stored`].
pub(super) unsafe fn run<I: Isa, T: Source + Element>(
    isa: I,
    slab: &Slab,
    source: &dyn Expand,
) -> Result<(), GemmError> {
    let (unit, len) = match slab.dots {
        true => (DOT_COLS, DOT_COLS * slab.depth),
        false => (AXPY_COLS, AXPY_COLS * AXPY_DEPTHS),
    };
    let mut scratch = Buffer::scratch(Device::Cpu, <T as Source>::DTYPE, len)?;
    let scratch = scratch.as_mut_slice::<T>()?;
    for start in slab.cols.clone().step_by(unit) {
        let cols = start..slab.cols.end.min(start + unit);
        // SAFETY: the caller's; columns stay within the slab.
        unsafe {
            match slab.dots {
                true => dot(isa, slab, source, cols, scratch),
                false => axpy(isa, slab, source, cols, scratch),
            }
        }
    }
    Ok(())
}

/// # Safety
/// As for [`run`].
unsafe fn dot<I: Isa, T: Source + Element>(isa: I, slab: &Slab, source: &dyn Expand, cols: Range<usize>, b: &mut [T]) {
    let window = Window { first: cols.start * slab.b_stride, row_len: slab.depth, row_stride: slab.b_stride };
    source.expand(window, ElementsMut::new(&mut b[..cols.len() * slab.depth]));
    // SAFETY: the caller's; `b` holds these columns.
    unsafe { isa.dot(&part(slab, cols, 0..slab.depth, b, slab.depth)) };
}

/// # Safety
/// As for [`run`].
unsafe fn axpy<I: Isa, T: Source + Element>(isa: I, slab: &Slab, source: &dyn Expand, cols: Range<usize>, b: &mut [T]) {
    let mut sums = NO_SUMS;
    for start in (0..slab.depth).step_by(AXPY_DEPTHS) {
        let depths = start..slab.depth.min(start + AXPY_DEPTHS);
        let first = depths.start * slab.b_stride + cols.start;
        let window = Window { first, row_len: cols.len(), row_stride: slab.b_stride };
        source.expand(window, ElementsMut::new(&mut b[..depths.len() * cols.len()]));
        // SAFETY: the caller's; `b` holds these columns of these depths.
        unsafe { isa.axpy(&part(slab, cols.clone(), depths, b, cols.len()), &mut sums) };
    }
    // SAFETY: the caller's.
    unsafe { part(slab, cols, 0..slab.depth, b, 0).write_strip(&sums) };
}

/// Some columns and depths of a slab, whose part of `B` was written to `b`.
fn part<'a, T>(slab: &Slab<'a>, cols: Range<usize>, depths: Range<usize>, b: &'a [T], b_stride: usize) -> Block<'a, T> {
    Block {
        a: &slab.a[depths.start..],
        a_stride: slab.a_stride,
        rows: slab.rows,
        depth: depths.len(),
        b,
        b_stride,
        cols: 0..cols.len(),
        c: slab.c.at(0, cols.start),
        alpha: slab.alpha,
        addend: slab.addend.at(0, cols.start),
    }
}
