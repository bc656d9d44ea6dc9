//! `x = CODEBOOK[code] absmax`, rounded once in f32 and once more to the result's dtype.

use std::ops::Range;

use device::{Element, parallel};

use crate::codebook::CODEBOOK;
use crate::lookup::{Lookup, MAX_BLOCKS, Stores, Tables};
use crate::nested::Absmax;
use crate::shape::{MAX_BLOCK_SIZE, check_len};
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
    check_len("packed", shape.packed_len(), packed.len())?;
    absmax.check(shape)?;
    let (len, num_elements) = (out.len(), shape.num_elements());
    if first > num_elements || len > num_elements - first {
        return Err(Nf4Error::Range { first, len, num_elements });
    }
    let stores = if size_of_val(out) < STREAMED_BYTES { Stores::Cached } else { Stores::Streaming };
    let blocks = Blocks { lookup, block_size: shape.block_size(), packed, absmax, stores };
    parallel::rows_mut(out, 1, TASK_ELEMENTS, |start, out| blocks.write(first + start, out));
    Ok(())
}

struct Blocks<'a> {
    lookup: Lookup,
    block_size: usize,
    packed: &'a [u8],
    absmax: Absmax<'a>,
    stores: Stores,
}

impl Blocks<'_> {
    /// Writes the elements from `first` on.
    fn write<T: Element>(&self, first: usize, out: &mut [T]) {
        let (mut rest, mut tables) = (out, Tables::new());
        let mut first = first;
        while !rest.is_empty() {
            let into_block = first % self.block_size;
            // Whole blocks together, the parts of blocks at the ends by themselves.
            let len = if into_block > 0 {
                rest.len().min(self.block_size - into_block)
            } else if rest.len() >= self.block_size {
                (rest.len().min(MAX_BLOCK_SIZE)) / self.block_size * self.block_size
            } else {
                rest.len()
            };
            let (part, tail) = rest.split_at_mut(len);
            if into_block > 0 || len % self.block_size > 0 {
                self.write_part(first, part);
            } else {
                self.write_whole(first..first + len, part, &mut tables);
            }
            (rest, first) = (tail, first + len);
        }
    }

    fn write_part<T: Element>(&self, first: usize, out: &mut [T]) {
        let absmax = self.absmax.get(first / self.block_size);
        for (i, out) in (first..).zip(out) {
            let byte = self.packed[i / 2];
            let code = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
            *out = T::from_f32(CODEBOOK[usize::from(code)] * absmax);
        }
    }

    /// At most [`MAX_BLOCK_SIZE`] elements.
    fn write_whole<T: Element>(&self, range: Range<usize>, out: &mut [T], tables: &mut Tables) {
        let packed = &self.packed[range.start / 2..range.end / 2];
        let mut absmax = [0.0; MAX_BLOCKS];
        let absmax = &mut absmax[..range.len() / self.block_size];
        for (block, absmax) in (range.start / self.block_size..).zip(absmax.iter_mut()) {
            *absmax = self.absmax.get(block);
        }
        self.lookup.expand(packed, absmax, self.block_size, out, self.stores, tables);
    }
}
