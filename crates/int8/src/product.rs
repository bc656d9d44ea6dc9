//! The blocked product of quantized rows and a packed weight.

use std::ops::Range;

use device::simd::{self, Kernel};
use device::{Buffer, DType, Device};
use rayon::prelude::*;

use crate::Int8Error;
use crate::isa::{Isa, ROWS, Sums, Tile};
use crate::pack::{CHUNK, CHUNK_BYTES, COLS, ColumnSums, Pack, Source};
use crate::quantize::QuantizeRow;

/// Bytes of panels that stay in the second-level cache while rows go by.
const PANEL_BYTES: usize = 768 << 10;
/// Parts of the columns for each thread, so that one that is held up is helped by the others.
const PARTS_PER_THREAD: usize = 4;

/// `out = diag(row scales) (rows columns) diag(scales) + bias`, or that added to `out`.
pub(crate) struct Product<'a> {
    /// `[num_tokens, depth]`, quantized row by row.
    pub(crate) x: &'a [f32],
    /// What the columns of `x` are multiplied with before they are quantized.
    pub(crate) factors: Option<&'a [f32]>,
    pub(crate) weight: Source<'a>,
    /// Scales of the result's columns.
    pub(crate) scales: Option<&'a [f32]>,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) accumulate: bool,
    /// `[num_tokens, cols]`.
    pub(crate) out: &'a mut [f32],
}

/// Quantized rows, padded to whole tiles.
struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    scales: &'a [f32],
}

pub(crate) fn run<I: Isa>(isa: I, product: Product<'_>) -> Result<(), Int8Error> {
    let Source { depth, cols, .. } = product.weight;
    let num_tokens = product.out.len() / cols;
    let stride = depth.next_multiple_of(CHUNK);
    let mut bytes = scratch(num_tokens.next_multiple_of(ROWS) * stride)?;
    let mut scales = Buffer::scratch(Device::Cpu, DType::F32, num_tokens)?;
    let bytes = bytes_of(&mut bytes)?;
    quantize_rows::<I>(&product, stride, bytes, scales.f32_mut()?);
    let rows = Rows { bytes, stride, scales: scales.f32()? };

    let out = Out { start: product.out.as_mut_ptr(), cols };
    let panels = cols.div_ceil(COLS);
    let parts = panels.min(rayon::current_num_threads() * PARTS_PER_THREAD);
    (0..parts).into_par_iter().try_for_each(|part| {
        let panels = panels * part / parts..panels * (part + 1) / parts;
        // SAFETY: parts have no panel in common, and `out` is borrowed exclusively for `num_tokens` rows of `cols`.
        unsafe { run_part(isa, &product, &rows, panels, out) }
    })
}

fn quantize_rows<I: Isa>(product: &Product<'_>, stride: usize, bytes: &mut [u8], scales: &mut [f32]) {
    let depth = product.weight.depth;
    let Product { x, factors, .. } = *product;
    let rows = bytes.par_chunks_mut(stride).zip(scales).zip(x.par_chunks(depth));
    rows.with_min_len(16).for_each(|((bytes, scale), x)| {
        let (codes, padding) = bytes.split_at_mut(depth);
        *scale = simd::dispatch(QuantizeRow { x, factors, codes, flip: I::FLIP });
        // The panels are zero there, so these bytes only have to be something.
        padding.fill(I::FLIP);
    });
}

/// The panels of one part, as many at a time as stay in the cache.
///
/// # Safety
/// Nothing else accesses the columns of these panels in `out`.
unsafe fn run_part<I: Isa>(
    isa: I,
    product: &Product<'_>,
    rows: &Rows<'_>,
    panels: Range<usize>,
    out: Out,
) -> Result<(), Int8Error> {
    let panel_bytes = rows.stride / CHUNK * CHUNK_BYTES;
    let at_a_time = (PANEL_BYTES / panel_bytes).clamp(1, panels.len());
    let mut packed = scratch(at_a_time * panel_bytes)?;
    let packed: &mut [i8] = bytemuck::cast_slice_mut(bytes_of(&mut packed)?);
    let mut column_sums = vec![[0; COLS]; at_a_time];
    let mut sums: Sums = [[0; COLS]; ROWS];
    for first in panels.clone().step_by(at_a_time) {
        let panels = first..panels.end.min(first + at_a_time);
        let memory = packed.chunks_exact_mut(panel_bytes).zip(&mut column_sums);
        for (panel, (packed, sums)) in panels.clone().zip(memory) {
            simd::dispatch(Pack { source: product.weight, first: panel * COLS, out: packed });
            if I::FLIP != 0 {
                simd::dispatch(ColumnSums { packed, sums });
            }
        }
        isa.session(|| {
            for (tile, scales) in rows.scales.chunks(ROWS).enumerate() {
                let a = rows.bytes[tile * ROWS * rows.stride..][..ROWS * rows.stride].as_ptr();
                for (panel, (packed, column_sums)) in
                    panels.clone().zip(packed.chunks_exact(panel_bytes).zip(&column_sums))
                {
                    let (a_stride, rows) = (rows.stride, scales.len());
                    // SAFETY: `a` holds 32 rows, and a panel is packed over the same depth; within a session.
                    unsafe {
                        isa.tile(&Tile { a, a_stride, rows, b: packed.as_ptr(), depth: a_stride }, &mut sums);
                    }
                    let cols = panel * COLS..out.cols.min((panel + 1) * COLS);
                    let of_cols = |values: Option<&'_ [f32]>| {
                        let mut of_cols = [0.0; COLS];
                        of_cols[..cols.len()].copy_from_slice(&values?[cols.clone()]);
                        Some(of_cols)
                    };
                    simd::dispatch(Write {
                        sums: &sums,
                        offset: i32::from(I::FLIP),
                        column_sums,
                        row_scales: scales,
                        scales: of_cols(product.scales).unwrap_or([1.0; COLS]),
                        bias: of_cols(product.bias),
                        accumulate: product.accumulate,
                        // SAFETY: rows and columns of the result, which are this part's alone.
                        out: |row| unsafe { out.row(tile * ROWS + row, cols.clone()) },
                    });
                }
            }
        });
    }
    Ok(())
}

/// The result, which threads write disjoint columns of.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    cols: usize,
}

// SAFETY: stands for an exclusive borrow; threads that share it write disjoint elements.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// # Safety
    /// The row and the columns are within the result, and nothing else accesses them.
    #[inline(always)]
    unsafe fn row<'a>(self, row: usize, cols: Range<usize>) -> &'a mut [f32] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.cols + cols.start), cols.len()) }
    }
}

/// Writes the sums of a tile, scaled.
struct Write<'a, F> {
    sums: &'a Sums,
    /// What every byte of a row is more than its code, and the sums of the columns that it was multiplied with.
    offset: i32,
    column_sums: &'a [i32; COLS],
    row_scales: &'a [f32],
    scales: [f32; COLS],
    bias: Option<[f32; COLS]>,
    accumulate: bool,
    out: F,
}

impl<'b, F: Fn(usize) -> &'b mut [f32]> Kernel for Write<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: simd::Isa>(self) {
        for (row, (sums, &row_scale)) in self.sums.iter().zip(self.row_scales).enumerate() {
            let mut values = self.bias.unwrap_or([0.0; COLS]);
            for (col, value) in values.iter_mut().enumerate() {
                let sum = sums[col].wrapping_sub(self.offset.wrapping_mul(self.column_sums[col]));
                *value = I::mul_add(sum as f32 * row_scale, self.scales[col], *value);
            }
            let out = (self.out)(row);
            match self.accumulate {
                true => out.iter_mut().zip(values).for_each(|(out, value)| *out += value),
                false => out.copy_from_slice(&values[..out.len()]),
            }
        }
    }
}

/// Memory for so many bytes.
pub(crate) fn scratch(len: usize) -> Result<Buffer, Int8Error> {
    Ok(Buffer::scratch(Device::Cpu, DType::F32, len.div_ceil(size_of::<f32>()))?)
}

pub(crate) fn bytes_of(buffer: &mut Buffer) -> Result<&mut [u8], Int8Error> {
    Ok(bytemuck::cast_slice_mut(buffer.f32_mut()?))
}
