//! How loops are cut: by size only, never by the number of threads.

use device::{Buffer, DType, Device, parallel};
use rayon::prelude::*;

use crate::{Gradient, Result};

/// Elements of one block of a memory-bound loop: 64 KiB of f32, far more work than handing it to a thread.
pub(crate) const ELEMENTS: usize = 1 << 14;

/// Rows of `row_len` elements that make up a block.
pub(crate) fn rows_per_block(row_len: usize) -> usize {
    (ELEMENTS / row_len.max(1)).max(1)
}

/// [`parallel::rows_mut`] over two outputs with as many rows: `body(start, a_rows, b_rows)`.
pub(crate) fn zip_rows_mut(
    a: (&mut [f32], usize),
    b: (&mut [f32], usize),
    body: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let ((a, a_len), (b, b_len)) = (a, b);
    if a.is_empty() || b.is_empty() {
        return;
    }
    let block = rows_per_block(a_len.max(b_len));
    if a.len() <= block * a_len {
        return body(0, a, b);
    }
    let chunks = a.par_chunks_mut(block * a_len).zip(b.par_chunks_mut(block * b_len));
    chunks.enumerate().for_each(|(i, (a, b))| body(i * block, a, b));
}

/// Sums over rows, one for each of `columns`: `partial(rows, sums)` adds the terms of a range of rows to `sums`. The
/// ranges run in parallel; their sums are added in order.
pub(crate) fn sum_columns(
    rows: usize,
    columns: usize,
    out: Gradient<'_>,
    partial: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Result<()> {
    /// Long enough that the partial sums are little memory, short enough that f32 sums lose little.
    const ROWS: usize = 256;
    let blocks = rows.div_ceil(ROWS);
    let mut partials = Buffer::zeroed(Device::Cpu, DType::F32, blocks * columns)?;
    let partials = partials.f32_mut()?;
    parallel::rows_mut(partials, columns, 1, |block, sums| {
        partial(block * ROWS..rows.min((block + 1) * ROWS), sums);
    });
    if !out.add {
        out.values.fill(0.0);
    }
    for sums in partials.chunks_exact(columns.max(1)) {
        out.values.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    }
    Ok(())
}
