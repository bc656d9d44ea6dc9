//! Tables of the values that codes stand for, rounded to what they are stored as.

use device::simd::{self, Isa, Kernel};
use device::{DType, Element};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::{Lookup, Stores};
use crate::codebook::CODEBOOK;
use crate::shape::MAX_BLOCK_SIZE;

/// Blocks of the smallest size among [`MAX_BLOCK_SIZE`] elements.
const MAX_BLOCKS: usize = MAX_BLOCK_SIZE / 32;

/// Room for the tables of some blocks.
pub(crate) struct Tables<'a> {
    values: &'a mut [[f32; 16]],
    rounded: &'a mut [[u16; 16]],
}

/// Gives `body` room for the tables of `count` blocks, at most [`MAX_BLOCKS`]: little for few, for clearing it takes time.
pub(crate) fn with_tables(count: usize, body: impl FnOnce(Tables<'_>)) {
    fn run<const COUNT: usize>(count: usize, body: impl FnOnce(Tables<'_>)) {
        let (mut values, mut rounded) = ([[0.0; 16]; COUNT], [[0; 16]; COUNT]);
        body(Tables { values: &mut values[..count], rounded: &mut rounded[..count] });
    }
    match count {
        0..=1 => run::<1>(count, body),
        2..=8 => run::<8>(count, body),
        _ => run::<MAX_BLOCKS>(count, body),
    }
}

impl Lookup {
    /// Expands one block of `out`, to f32, bf16 or f16, for each table that there is room for and its `absmax`.
    pub(crate) fn expand<T: Element>(
        self,
        packed: &[u8],
        absmax: impl Iterator<Item = f32>,
        block_size: usize,
        out: &mut [T],
        stores: Stores,
        tables: Tables<'_>,
    ) {
        let Tables { values, rounded } = tables;
        for (values, absmax) in values.iter_mut().zip(absmax) {
            *values = CODEBOOK.map(|value| value * absmax);
        }
        match T::DTYPE {
            DType::F32 => return self.word(packed, values, block_size, bytemuck::cast_slice_mut(out), stores),
            DType::BF16 => simd::dispatch(RoundToBf16 { values, rounded }),
            DType::F16 => {
                bytemuck::cast_slice_mut::<_, f16>(rounded).convert_from_f32_slice(values.as_flattened());
            }
        }
        self.half(packed, rounded, block_size, bytemuck::cast_slice_mut(out), stores);
    }
}

/// Bits of the nearest bf16, ties to even; NaN stays NaN.
struct RoundToBf16<'a> {
    values: &'a [[f32; 16]],
    rounded: &'a mut [[u16; 16]],
}

impl Kernel for RoundToBf16<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (rounded, value) in self.rounded.as_flattened_mut().iter_mut().zip(self.values.as_flattened()) {
            let bits = value.to_bits();
            // Half a unit of what is kept, less one where that is even already.
            let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            let quiet_nan = bits >> 16 | 0x40;
            *rounded = if value.is_nan() { quiet_nan } else { nearest } as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn bf16_is_rounded_as_half_rounds() {
        let values: Vec<f32> = (0..=u16::MAX)
            .flat_map(|high| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| u32::from(high) << 16 | low))
            .map(f32::from_bits)
            .collect();
        for values in values.as_chunks::<16>().0 {
            let mut rounded = [[0; 16]];
            simd::dispatch(RoundToBf16 { values: &[*values], rounded: &mut rounded });
            assert_eq!(rounded[0], values.map(|value| bf16::from_f32(value).to_bits()), "{values:?}");
        }
    }
}
