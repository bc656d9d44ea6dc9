//! `absmax = max |x|` of a block, `code = round(x / absmax)` to the nearest of the codebook.

use device::Elements;
use device::simd::{self, Isa, Kernel};
use rayon::prelude::*;

use crate::codebook::code;
use crate::shape::{MAX_BLOCK_SIZE, check_len};
use crate::{Nf4Error, Nf4Shape};

/// Blocks that one task takes, at least: fixed, so that it does not depend on the number of threads.
const TASK_ELEMENTS: usize = 1 << 16;
/// What bitsandbytes divides by where a block is smaller. A subnormal number: its reciprocal is finite.
pub(crate) const SMALLEST: f32 = 1e-38;

/// Operands of [`quantize()`].
#[derive(Debug)]
pub struct Quantize<'a> {
    /// The tensor, row by row.
    pub x: Elements<'a>,
    /// Codes, two to a byte, the even element in the high half; [`Nf4Shape::packed_len`] bytes. Overwritten.
    pub packed: &'a mut [u8],
    /// Largest magnitude of each block; [`Nf4Shape::num_blocks`] values. Overwritten.
    pub absmax: &'a mut [f32],
}

/// Quantizes as bitsandbytes' `quantize_4bit` on the CPU does, bit for bit:
/// - values are multiplied by the rounded reciprocal of `absmax`, in a short last block divided by it;
/// - a block of zeros has `absmax` 0 (a short last one 1e-38) and codes of 0.0;
/// - a NaN makes its block's `absmax` NaN, and so the whole block when it is dequantized;
/// - an odd last byte is filled up with the code of 0.0.
///
/// # Errors
/// [`Nf4Error::Length`].
pub fn quantize(shape: &Nf4Shape, args: Quantize<'_>) -> Result<(), Nf4Error> {
    let Quantize { x, packed, absmax } = args;
    check_len("x", shape.num_elements(), x.len())?;
    check_len("packed", shape.packed_len(), packed.len())?;
    check_len("absmax", shape.num_blocks(), absmax.len())?;
    let blocks = TASK_ELEMENTS / shape.block_size();
    let tasks = packed.par_chunks_mut(TASK_ELEMENTS / 2).zip(absmax.par_chunks_mut(blocks)).enumerate();
    tasks.for_each(|(task, (packed, absmax))| {
        let packed = packed.chunks_mut(shape.block_size() / 2);
        let mut values = [0.0; MAX_BLOCK_SIZE];
        for (block, (packed, absmax)) in packed.zip(absmax).enumerate() {
            let start = (task * blocks + block) * shape.block_size();
            let len = shape.block_size().min(shape.num_elements() - start);
            let values = &mut values[..len];
            x.slice(start, len).widen_into(values);
            *absmax = simd::dispatch(QuantizeBlock { values, packed, whole: len == shape.block_size() });
        }
    });
    Ok(())
}

/// One block; returns its `absmax`.
struct QuantizeBlock<'a> {
    values: &'a [f32],
    packed: &'a mut [u8],
    whole: bool,
}

impl Kernel for QuantizeBlock<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        // Without their sign, bit patterns ascend as the numbers do, and NaN is above all.
        let absmax = f32::from_bits(self.values.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff)));
        // Lets NaN pass.
        let divisor = if absmax < SMALLEST { SMALLEST } else { absmax };
        let mut codes = [code(0.0); MAX_BLOCK_SIZE];
        let codes = &mut codes[..self.values.len().next_multiple_of(2)];
        if self.whole {
            let factor = 1.0 / divisor;
            codes.iter_mut().zip(self.values).for_each(|(c, x)| *c = code(x * factor));
        } else {
            codes.iter_mut().zip(self.values).for_each(|(c, x)| *c = code(x / divisor));
        }
        for (byte, pair) in self.packed.iter_mut().zip(codes.as_chunks::<2>().0) {
            *byte = pair[0] << 4 | pair[1];
        }
        if self.whole { absmax } else { divisor }
    }
}
