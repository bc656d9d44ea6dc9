//! Packing for the micro-kernel: lines of an operand, widened to f32, as `[depth, stride]`.

use super::transpose::transpose;
use super::{MAX_LANES, Source, Vector, load_partial};
use crate::kernel::Panel;

/// Packs a panel; lines that are missing to `stride` are zero.
///
/// # Safety
/// The instruction set is available; lines and depth are within the operand, not empty, the lines at most `stride`, a
/// multiple of the lanes; `out` is `depth * stride` long.
#[inline(always)]
pub(crate) unsafe fn pack<V: Vector, T: Source>(panel: &Panel<T>, stride: usize, out: &mut [f32]) {
    debug_assert_eq!(out.len(), panel.part.depth.len() * stride);
    for first in (0..stride).step_by(V::LANES) {
        let count = panel.part.lines.len().saturating_sub(first).min(V::LANES);
        // SAFETY: the caller's.
        unsafe {
            let out = out.as_mut_ptr().add(first);
            match panel.part.depth_is_contiguous {
                true => pack_transposing::<V, T>(panel, first, count, stride, out),
                false => pack_copying::<V, T>(panel, first, count, stride, out),
            }
        }
    }
}

/// `count` lines from the panel's line `first` on, where the elements of one depth are neighbours.
///
/// # Safety
/// As for [`pack`]; `out` is the first of the lines.
#[inline(always)]
unsafe fn pack_copying<V: Vector, T: Source>(
    panel: &Panel<T>,
    first: usize,
    count: usize,
    stride: usize,
    out: *mut f32,
) {
    for k in 0..panel.part.depth.len() {
        let from = panel.at(first, k);
        // SAFETY: `count` lines exist and no more are read; `out` holds `stride` a depth.
        unsafe {
            let vector = if count == V::LANES { T::load::<V>(from) } else { load_partial::<V, T>(from, count) };
            vector.store(out.add(k * stride));
        }
    }
}

/// `count` lines from the panel's line `first` on, where the elements of one line are neighbours: squares of as many
/// lines and depths as a register has lanes are transposed in registers.
///
/// # Safety
/// As for [`pack`]; `out` is the first of the lines.
#[inline(always)]
unsafe fn pack_transposing<V: Vector, T: Source>(
    panel: &Panel<T>,
    first: usize,
    count: usize,
    stride: usize,
    out: *mut f32,
) {
    let depth = panel.part.depth.len();
    // SAFETY: `count` lines exist, and of their depths no more than `depth` are read or written.
    unsafe {
        for k in (0..depth).step_by(V::LANES) {
            let depths = V::LANES.min(depth - k);
            let mut square = [V::zero(); MAX_LANES];
            for (i, row) in square[..count].iter_mut().enumerate() {
                let from = panel.at(first + i, k);
                *row = if depths == V::LANES { T::load::<V>(from) } else { load_partial::<V, T>(from, depths) };
            }
            let square = transpose(square);
            for (j, column) in square[..depths].iter().enumerate() {
                column.store(out.add((k + j) * stride));
            }
        }
    }
}
