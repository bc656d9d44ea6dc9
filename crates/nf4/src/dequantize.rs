//! `x = CODEBOOK[code] absmax`, rounded once in f32 and once more to the result's dtype.

use device::{Element, parallel};

use crate::blocks::Blocks;
use crate::lookup::{Lookup, Stores};
use crate::nested::Absmax;
use crate::{Nf4Error, Nf4Shape};

/// Elements that one task takes: fixed, so that it does not depend on the number of threads.
const TASK_ELEMENTS: usize = 1 << 16;

/// Results from this size on are written past the caches: few would hold them until they are read.
const STREAMED_BYTES: usize = 32 << 20;

/// Operands of [`dequantize()`].
#[derive(Debug)]
pub struct Dequantize<'a, T> {
    /// Codes, two to a byte, the even element in the high half.
    pub packed: &'a [u8],
    /// Largest magnitudes of the blocks.
    pub absmax: Absmax<'a>,
    /// The first element wanted: a product that needs some rows asks for those only.
    pub first: usize,
    /// The elements from `first` on, as many as it holds. Overwritten.
    pub out: &'a mut [T],
}

/// Dequantizes a part of a tensor to f32, bf16 or f16, bit for bit as bitsandbytes' `dequantize_4bit`.
///
/// # Errors
/// [`Nf4Error::Length`], [`Nf4Error::NestedBlockSize`], [`Nf4Error::Range`].
pub fn dequantize<T: Element>(shape: &Nf4Shape, args: Dequantize<'_, T>) -> Result<(), Nf4Error> {
    dequantize_with(Lookup::best(), shape, args)
}

pub(crate) fn dequantize_with<T: Element>(
    lookup: Lookup,
    shape: &Nf4Shape,
    args: Dequantize<'_, T>,
) -> Result<(), Nf4Error> {
    let Dequantize { packed, absmax, first, out } = args;
    let blocks = Blocks::new(lookup, shape, packed, absmax)?;
    let (len, num_elements) = (out.len(), shape.num_elements());
    if first > num_elements || len > num_elements - first {
        return Err(Nf4Error::Range { first, len, num_elements });
    }
    let stores = if size_of_val(out) < STREAMED_BYTES { Stores::Cached } else { Stores::Streaming };
    parallel::rows_mut(out, 1, TASK_ELEMENTS, |start, out| blocks.write(first + start, out, stores));
    Ok(())
}
