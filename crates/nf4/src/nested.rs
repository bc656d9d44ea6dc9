//! Double quantization: `absmax` itself in 8 bits, in blocks of its own.
//!
//! `absmax_i = map[code_i] nested_absmax_(i / 256) + offset`, where `offset` is the mean of all.
//! Source: Dettmers et al. 2023, "QLoRA", section 3.

use blockwise::{BLOCK_SIZE, DynamicMap, quantize_block};

use crate::shape::check_len;
use crate::{Nf4Error, Nf4Shape};

/// Values of `absmax` in a block of the second quantization (bitsandbytes: `nested_blocksize`).
pub const NESTED_BLOCK_SIZE: usize = BLOCK_SIZE;

/// Values that are added up in order for their mean.
const SUM_VALUES: usize = 256;

/// What each 8-bit code stands for, ascending. Checkpoints carry their own copy, `nested_quant_map`.
pub fn dynamic_map() -> &'static [f32; 256] {
    DynamicMap::signed().values()
}

/// The largest magnitudes of the blocks, as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Absmax<'a> {
    /// In f32.
    F32(&'a [f32]),
    /// Quantized.
    Nested(NestedAbsmax<'a>),
}

/// `absmax` after the second quantization.
#[derive(Clone, Copy, Debug)]
pub struct NestedAbsmax<'a> {
    /// A code for each block.
    pub codes: &'a [u8],
    /// What the codes stand for: [`dynamic_map`], or the checkpoint's `nested_quant_map`.
    pub map: &'a [f32; 256],
    /// Largest magnitude of each nested block.
    pub nested_absmax: &'a [f32],
    /// What was subtracted from every value.
    pub offset: f32,
    /// Codes of a nested block, [`NESTED_BLOCK_SIZE`] in every checkpoint so far.
    pub nested_block_size: usize,
}

/// Operands of [`quantize_absmax()`].
#[derive(Debug)]
pub struct QuantizeAbsmax<'a> {
    /// What [`crate::quantize()`] wrote.
    pub absmax: &'a [f32],
    /// A code for each, from [`dynamic_map`]. Overwritten.
    pub codes: &'a mut [u8],
    /// One for each [`NESTED_BLOCK_SIZE`] of them. Overwritten.
    pub nested_absmax: &'a mut [f32],
}

/// Quantizes `absmax` and returns its `offset`.
///
/// Codes are those of bitsandbytes' `quantize_blockwise` on the CPU ([`blockwise::quantize_block`]). The mean is rounded once from f64: bitsandbytes' own depends, in the last place, on its vector width.
///
/// # Errors
/// [`Nf4Error::Length`].
pub fn quantize_absmax(args: QuantizeAbsmax<'_>) -> Result<f32, Nf4Error> {
    let QuantizeAbsmax { absmax, codes, nested_absmax } = args;
    check_len("codes", absmax.len(), codes.len())?;
    check_len("nested_absmax", absmax.len().div_ceil(NESTED_BLOCK_SIZE), nested_absmax.len())?;
    if absmax.is_empty() {
        return Ok(0.0);
    }
    let offset = (sum(absmax) / absmax.len() as f64) as f32;
    let blocks = absmax.chunks(NESTED_BLOCK_SIZE).zip(codes.chunks_mut(NESTED_BLOCK_SIZE)).zip(nested_absmax);
    for ((absmax, codes), nested) in blocks {
        let mut centred = [0.0; NESTED_BLOCK_SIZE];
        let centred = &mut centred[..absmax.len()];
        centred.iter_mut().zip(absmax).for_each(|(centred, x)| *centred = x - offset);
        *nested = quantize_block(DynamicMap::signed(), centred, codes);
    }
    Ok(offset)
}

/// The sum in f64: of [`SUM_VALUES`] at a time in order, and of these sums in the same way, which many threads can do too.
fn sum(values: &[f32]) -> f64 {
    let mut sums: Vec<f64> = values.chunks(SUM_VALUES).map(|part| part.iter().map(|&x| f64::from(x)).sum()).collect();
    while sums.len() > 1 {
        sums = sums.chunks(SUM_VALUES).map(|part| part.iter().sum()).collect();
    }
    sums.iter().sum()
}

impl Absmax<'_> {
    pub(crate) fn check(&self, shape: &Nf4Shape) -> Result<(), Nf4Error> {
        match self {
            Absmax::F32(absmax) => check_len("absmax", shape.num_blocks(), absmax.len()),
            Absmax::Nested(nested) => {
                if nested.nested_block_size == 0 {
                    return Err(Nf4Error::NestedBlockSize { block_size: 0 });
                }
                check_len("codes", shape.num_blocks(), nested.codes.len())?;
                let expected = shape.num_blocks().div_ceil(nested.nested_block_size);
                check_len("nested_absmax", expected, nested.nested_absmax.len())
            }
        }
    }

    /// The value of block `block`, rounded as bitsandbytes does: after the product, and after the sum.
    ///
    /// # Panics
    /// If there is no such block.
    #[inline]
    pub fn get(&self, block: usize) -> f32 {
        let mut value = [0.0];
        self.write(block, &mut value);
        value[0]
    }

    /// Writes the values of consecutive blocks.
    ///
    /// # Panics
    /// If there are not as many.
    #[inline]
    pub(crate) fn write(&self, first: usize, mut out: &mut [f32]) {
        match self {
            Absmax::F32(absmax) => out.copy_from_slice(&absmax[first..][..out.len()]),
            Absmax::Nested(nested) => {
                let mut codes = &nested.codes[first..][..out.len()];
                let (mut block, mut in_block) = (first / nested.nested_block_size, first % nested.nested_block_size);
                while !out.is_empty() {
                    let len = out.len().min(nested.nested_block_size - in_block);
                    let absmax = nested.nested_absmax[block];
                    let (values, later) = out.split_at_mut(len);
                    for (value, &code) in values.iter_mut().zip(codes) {
                        *value = nested.map[usize::from(code)] * absmax + nested.offset;
                    }
                    (out, codes, block, in_block) = (later, &codes[len..], block + 1, 0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_and_undefined_values() {
        let run = |absmax: &[f32]| {
            let (mut codes, mut nested) = (vec![9; absmax.len()], vec![9.0; absmax.len().div_ceil(256)]);
            let offset =
                quantize_absmax(QuantizeAbsmax { absmax, codes: &mut codes, nested_absmax: &mut nested }).unwrap();
            (offset, codes, nested)
        };
        assert_eq!(run(&[0.5; 3]), (0.5, vec![0; 3], vec![0.0]));
        let (offset, codes, nested) = run(&[f32::NAN, 1.0]);
        assert!(offset.is_nan() && codes == [0, 0] && nested == [0.0]);
        assert_eq!(run(&[]), (0.0, vec![], vec![]));
        let short = QuantizeAbsmax { absmax: &[1.0; 257], codes: &mut [0; 257], nested_absmax: &mut [0.0] };
        assert!(matches!(quantize_absmax(short), Err(Nf4Error::Length { argument: "nested_absmax", expected: 2, .. })));
    }
}
