//! Quantized blocks where they lie, and any part of them dequantized.

use std::ops::Range;

use device::Element;

use crate::codebook::CODEBOOK;
use crate::lookup::{Lookup, Stores};
use crate::nested::Absmax;
use crate::shape::check_len;
use crate::{Nf4Error, Nf4Shape};

/// Elements whose codes are looked up together, and the least block: 16 bytes of codes.
const GROUP: usize = 32;
/// Blocks that are looked up together at most.
const BLOCKS: usize = 32;

/// A quantized tensor. Its lengths were checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks<'a> {
    lookup: Lookup,
    shape: Nf4Shape,
    packed: &'a [u8],
    absmax: Absmax<'a>,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(
        lookup: Lookup,
        shape: &Nf4Shape,
        packed: &'a [u8],
        absmax: Absmax<'a>,
    ) -> Result<Self, Nf4Error> {
        check_len("packed", shape.packed_len(), packed.len())?;
        absmax.check(shape)?;
        Ok(Self { lookup, shape: *shape, packed, absmax })
    }

    pub(crate) fn shape(&self) -> &Nf4Shape {
        &self.shape
    }

    /// Writes the elements from `first` on: whole blocks together, parts of blocks by themselves.
    ///
    /// # Panics
    /// If there are not as many.
    pub(crate) fn write<T: Element>(&self, first: usize, out: &mut [T], stores: Stores) {
        let (mut first, mut rest) = (first, out);
        let block_size = self.shape.block_size();
        while !rest.is_empty() {
            let into_block = first % block_size;
            let (whole_blocks, in_block) = (
                rest.len().min(BLOCKS * block_size) / block_size * block_size,
                rest.len().min(block_size - into_block),
            );
            let len = if into_block == 0 && whole_blocks > 0 {
                self.write_blocks(first..first + whole_blocks, block_size, &mut rest[..whole_blocks], stores);
                whole_blocks
            } else if first.is_multiple_of(GROUP) && in_block >= GROUP {
                let len = in_block / GROUP * GROUP;
                self.write_blocks(first..first + len, len, &mut rest[..len], stores);
                len
            } else {
                let len = in_block.min(GROUP - first % GROUP);
                self.write_in_group(first, &mut rest[..len]);
                len
            };
            (rest, first) = (&mut rest[len..], first + len);
        }
    }

    /// Parts of blocks, `len` elements each, that are whole groups: at most [`BLOCKS`].
    fn write_blocks<T: Element>(&self, range: Range<usize>, len: usize, out: &mut [T], stores: Stores) {
        let packed = &self.packed[range.start / 2..range.end / 2];
        let mut absmax = [0.0; BLOCKS];
        let absmax = &mut absmax[..range.len() / len];
        self.absmax.write(range.start / self.shape.block_size(), absmax);
        self.lookup.expand(packed, absmax, len, out, stores);
    }

    /// Elements of one group.
    fn write_in_group<T: Element>(&self, first: usize, out: &mut [T]) {
        let start = first / GROUP * GROUP;
        if start + GROUP <= self.shape.num_elements() {
            let mut group = [T::from_f32(0.0); GROUP];
            self.write_blocks(start..start + GROUP, GROUP, &mut group, Stores::Cached);
            return out.copy_from_slice(&group[first - start..][..out.len()]);
        }
        // The end of the tensor may have no 16 bytes.
        let absmax = self.absmax.get(first / self.shape.block_size());
        for (i, out) in (first..).zip(out) {
            let byte = self.packed[i / 2];
            let code = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
            *out = T::from_f32(CODEBOOK[usize::from(code)] * absmax);
        }
    }
}
