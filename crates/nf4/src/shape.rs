//! Sizes, checked once; everything below trusts them.

use crate::Nf4Error;

/// The largest block, and so the most elements that are worked on at a time.
pub(crate) const MAX_BLOCK_SIZE: usize = 4096;
const MIN_BLOCK_SIZE: usize = 32;

/// A tensor in blocks. It is flattened row by row, so a block may run over the end of a row; the last block may be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nf4Shape {
    num_elements: usize,
    block_size: usize,
}

impl Nf4Shape {
    /// `num_elements` in blocks of `block_size` (bitsandbytes: `blocksize`), usually 64.
    ///
    /// # Errors
    /// [`Nf4Error::BlockSize`] unless it is a power of two from 32 to 4096.
    pub fn new(num_elements: usize, block_size: usize) -> Result<Self, Nf4Error> {
        if !block_size.is_power_of_two() || !(MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&block_size) {
            return Err(Nf4Error::BlockSize { block_size });
        }
        Ok(Self { num_elements, block_size })
    }

    /// Elements of the tensor.
    pub fn num_elements(&self) -> usize {
        self.num_elements
    }

    /// Elements of a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Blocks, a short last one included: the length of `absmax`.
    pub fn num_blocks(&self) -> usize {
        self.num_elements.div_ceil(self.block_size)
    }

    /// Bytes of the codes, two to a byte.
    pub fn packed_len(&self) -> usize {
        self.num_elements.div_ceil(2)
    }
}

pub(crate) fn check_len(argument: &'static str, expected: usize, got: usize) -> Result<(), Nf4Error> {
    if got == expected { Ok(()) } else { Err(Nf4Error::Length { argument, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shape = Nf4Shape::new(65, 64).unwrap();
        assert_eq!((shape.num_blocks(), shape.packed_len()), (2, 33));
        assert_eq!(Nf4Shape::new(0, 32).unwrap().num_blocks(), 0);
        for block_size in [0, 16, 48, 8192] {
            assert!(matches!(Nf4Shape::new(64, block_size), Err(Nf4Error::BlockSize { .. })), "{block_size}");
        }
    }
}
