//! `scale = max |x| / 127` of a row, `code = round(x / scale)`, ties to even.

use device::simd::{self, Isa, Kernel};
use device::{Element, Elements, ElementsMut};
use rayon::prelude::*;

use crate::error::check;
use crate::{Int8Error, Int8Matrix};

/// The largest code.
const MOST: f32 = 127.0;
/// Rows that one task takes.
const ROWS: usize = 16;

/// Quantizes the rows of `x`, `[scales.len(), cols]`. A row of zeros has scale 0, one with a NaN or an infinity scale NaN:
/// its values are then NaN and not numbers that look right.
///
/// # Errors
/// [`Int8Error::Length`].
pub fn quantize(x: Elements<'_>, cols: usize, codes: &mut [i8], scales: &mut [f32]) -> Result<(), Int8Error> {
    let shape = [scales.len(), cols];
    check("x", shape, x.len())?;
    check("codes", shape, codes.len())?;
    if cols == 0 {
        scales.fill(0.0);
        return Ok(());
    }
    let tasks = codes.par_chunks_mut(ROWS * cols).zip(scales.par_chunks_mut(ROWS)).enumerate();
    tasks.for_each(|(task, (codes, scales))| {
        let mut row = vec![0.0; cols];
        for (i, (codes, scale)) in codes.chunks_exact_mut(cols).zip(scales).enumerate() {
            x.slice((task * ROWS + i) * cols, cols).widen_into(&mut row);
            *scale =
                simd::dispatch(QuantizeRow { x: &row, factors: None, codes: bytemuck::cast_slice_mut(codes), flip: 0 });
        }
    });
    Ok(())
}

/// Writes `code scale` of every element, in the dtype of `out`.
///
/// # Errors
/// [`Int8Error::Length`].
pub fn dequantize(matrix: Int8Matrix<'_>, out: ElementsMut<'_>) -> Result<(), Int8Error> {
    fn write<T: Element>(matrix: Int8Matrix<'_>, out: &mut [T]) -> Result<(), Int8Error> {
        check("out", [matrix.rows(), matrix.cols()], out.len())?;
        let cols = matrix.cols().max(1);
        let rows = out.par_chunks_mut(cols).zip(matrix.codes().par_chunks(cols)).zip(matrix.scales());
        rows.for_each(|((out, codes), &scale)| {
            out.iter_mut().zip(codes).for_each(|(to, &code)| *to = T::from_f32(f32::from(code) * scale));
        });
        Ok(())
    }
    match out {
        ElementsMut::F32(out) => write(matrix, out),
        ElementsMut::BF16(out) => write(matrix, out),
        ElementsMut::F16(out) => write(matrix, out),
    }
}

/// One row, times `factors` if there are any, which are applied to its elements first. Bits of `flip` are exchanged in every
/// code. Returns the scale.
pub(crate) struct QuantizeRow<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) factors: Option<&'a [f32]>,
    pub(crate) codes: &'a mut [u8],
    pub(crate) flip: u8,
}

impl Kernel for QuantizeRow<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        let Self { x, factors, codes, flip } = self;
        match factors {
            None => row(x.iter().copied(), codes, flip),
            Some(factors) => row(x.iter().zip(factors).map(|(x, factor)| x * factor), codes, flip),
        }
    }
}

#[inline(always)]
fn row(values: impl Iterator<Item = f32> + Clone, codes: &mut [u8], flip: u8) -> f32 {
    // Without their sign, bit patterns ascend as the numbers do, and what is not finite is above all.
    let absmax = f32::from_bits(values.clone().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff)));
    let factor = MOST / absmax;
    if !(factor.is_finite() && absmax.is_finite()) {
        codes.fill(flip);
        // Too small for its reciprocal, or zero: nothing is left of the row.
        return if absmax.is_finite() { 0.0 } else { f32::NAN };
    }
    // The sum has the whole number in its last bits, rounded as every sum is.
    const WHOLE: f32 = 1.5 * (1 << 23) as f32;
    for (code, x) in codes.iter_mut().zip(values) {
        *code = (x * factor + WHOLE).to_bits() as u8 ^ flip;
    }
    absmax / MOST
}
