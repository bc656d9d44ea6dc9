//! A quantized matrix in a product: dequantized panel by panel while it is packed, never as a whole.

use device::{DType, Element, ElementsMut};
use gemm::{Expand, Window};

use crate::blocks::Blocks;
use crate::lookup::{Lookup, Stores};
use crate::nested::Absmax;
use crate::{Nf4Error, Nf4Shape};

/// A quantized matrix, row by row, whose values are rounded to a dtype: what [`gemm::Matrix::expanded`] takes.
///
/// A product with it has the bits of the product with what [`dequantize()`](crate::dequantize()) writes in that dtype.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    blocks: Blocks<'a>,
    dtype: DType,
}

impl<'a> Operand<'a> {
    /// The matrix of `packed` codes and their `absmax`, whose values are rounded to `dtype`: what the product computes with
    /// in bitsandbytes.
    ///
    /// # Errors
    /// [`Nf4Error::Length`], [`Nf4Error::NestedBlockSize`].
    pub fn new(shape: &Nf4Shape, packed: &'a [u8], absmax: Absmax<'a>, dtype: DType) -> Result<Self, Nf4Error> {
        Ok(Self { blocks: Blocks::new(Lookup::best(), shape, packed, absmax)?, dtype })
    }

    fn write<T: Element>(&self, window: Window, out: &mut [T]) {
        for (row, out) in out.chunks_mut(window.row_len).enumerate() {
            self.blocks.write(window.first + row * window.row_stride, out, Stores::Cached);
        }
    }
}

impl Expand for Operand<'_> {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn len(&self) -> usize {
        self.blocks.shape().num_elements()
    }

    fn expand(&self, window: Window, out: ElementsMut<'_>) {
        match out {
            ElementsMut::F32(out) => self.write(window, out),
            ElementsMut::BF16(out) => self.write(window, out),
            ElementsMut::F16(out) => self.write(window, out),
        }
    }
}
