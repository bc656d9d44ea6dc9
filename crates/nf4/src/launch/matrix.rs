//! Quantized tensors in device memory.

use device::DType;
use device::launch::{DeviceBuffer, Executor};

use super::params::Nf4Weight;
use super::{Dequantize, check_bytes, check_elements, dequantize};
use crate::{Nf4Error, Nf4Shape};

/// A quantized tensor in device memory. All buffers are of one device.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// Its sizes.
    pub shape: Nf4Shape,
    /// Codes, two to a byte, the even element in the high half.
    pub packed: &'a DeviceBuffer,
    /// Largest magnitudes of the blocks.
    pub absmax: Absmax<'a>,
    /// What values are rounded to, bf16 or f32, whatever the type is that they are used in.
    pub dtype: DType,
}

/// The largest magnitudes of the blocks, as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Absmax<'a> {
    /// `[num_blocks]` f32.
    F32(&'a DeviceBuffer),
    /// Quantized.
    Nested(NestedAbsmax<'a>),
}

/// `absmax` after the second quantization: [`crate::NestedAbsmax`].
#[derive(Clone, Copy, Debug)]
pub struct NestedAbsmax<'a> {
    /// A code for each block.
    pub codes: &'a DeviceBuffer,
    /// What the codes stand for, `[256]` f32.
    pub map: &'a DeviceBuffer,
    /// Largest magnitude of each nested block, f32.
    pub nested_absmax: &'a DeviceBuffer,
    /// What was subtracted from every value, one f32.
    pub offset: &'a DeviceBuffer,
    /// Codes of a nested block, a power of two.
    pub nested_block_size: usize,
}

impl<'a> Blocks<'a> {
    /// Fails unless every buffer is as long as the sizes say and of one device, which is returned.
    pub(super) fn check(&self) -> Result<&'a Executor, Nf4Error> {
        let Self { shape, packed, absmax, dtype } = *self;
        if dtype == DType::F16 {
            return Err(Nf4Error::KernelDType { got: dtype });
        }
        check_bytes("packed", packed, shape.packed_len())?;
        match absmax {
            Absmax::F32(absmax) => check_elements("absmax", absmax, DType::F32, shape.num_blocks())?,
            Absmax::Nested(nested) => {
                let block_size = nested.nested_block_size;
                if !block_size.is_power_of_two() {
                    return Err(Nf4Error::KernelNestedBlockSize { block_size });
                }
                let nested_blocks = shape.num_blocks().div_ceil(block_size);
                check_bytes("codes", nested.codes, shape.num_blocks())?;
                check_elements("map", nested.map, DType::F32, 256)?;
                check_elements("nested_absmax", nested.nested_absmax, DType::F32, nested_blocks)?;
                check_elements("offset", nested.offset, DType::F32, 1)?;
            }
        }
        Ok(Executor::of(packed, self.buffers())?)
    }

    fn buffers(&self) -> impl Iterator<Item = &'a DeviceBuffer> + use<'a> {
        let scales = match self.absmax {
            Absmax::F32(absmax) => [Some(absmax), None, None, None],
            Absmax::Nested(NestedAbsmax { codes, map, nested_absmax, offset, .. }) => {
                [Some(codes), Some(map), Some(nested_absmax), Some(offset)]
            }
        };
        [self.packed].into_iter().chain(scales.into_iter().flatten())
    }

    pub(super) fn params(&self) -> Nf4Weight {
        let weight = Nf4Weight {
            packed: self.packed.address(),
            absmax: 0,
            nested_absmax: 0,
            map: 0,
            offset: 0,
            block_shift: self.shape.block_size().ilog2(),
            nested_shift: 0,
            rounded: u32::from(self.dtype == DType::BF16),
            padding: 0,
        };
        match self.absmax {
            Absmax::F32(absmax) => Nf4Weight { absmax: absmax.address(), ..weight },
            Absmax::Nested(nested) => Nf4Weight {
                absmax: nested.codes.address(),
                nested_absmax: nested.nested_absmax.address(),
                map: nested.map.address(),
                offset: nested.offset.address(),
                nested_shift: nested.nested_block_size.ilog2(),
                ..weight
            },
        }
    }
}

/// A quantized matrix in device memory, row by row. Its buffers were checked.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    blocks: Blocks<'a>,
    rows: usize,
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// The matrix `[rows, columns]` of `blocks`.
    ///
    /// # Errors
    /// [`Nf4Error::Matrix`] if it has another number of elements, [`Nf4Error::Length`] for a buffer of another length,
    /// [`Nf4Error::KernelNestedBlockSize`], [`Nf4Error::KernelDType`] for values rounded to f16, [`Nf4Error::Device`] for buffers of
    /// different devices.
    pub fn new(blocks: Blocks<'a>, [rows, columns]: [usize; 2]) -> Result<Self, Nf4Error> {
        if rows.checked_mul(columns) != Some(blocks.shape.num_elements()) {
            return Err(Nf4Error::Matrix { rows, columns, got: blocks.shape.num_elements() });
        }
        blocks.check()?;
        Ok(Self { blocks, rows, columns })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Its shape, if activations of `num_tokens` rows can be addressed on both sides.
    pub(super) fn check_product(&self, num_tokens: usize) -> Result<[usize; 2], Nf4Error> {
        let Self { rows, columns, .. } = *self;
        let bytes =
            num_tokens.checked_mul(rows.max(columns)).and_then(|elements| elements.checked_mul(size_of::<f32>()));
        match bytes {
            Some(bytes) if bytes <= isize::MAX as usize => Ok([rows, columns]),
            _ => Err(Nf4Error::TooLarge { num_tokens, rows, columns }),
        }
    }

    /// Its buffers.
    pub fn buffers(&self) -> impl Iterator<Item = &'a DeviceBuffer> + use<'a> {
        self.blocks.buffers()
    }

    /// As kernels take it. The addresses are those of [`Matrix::buffers`].
    pub fn params(&self) -> Nf4Weight {
        self.blocks.params()
    }

    /// All values in `dtype`, in new memory.
    ///
    /// # Errors
    /// Those of [`dequantize`](super::dequantize()).
    pub fn dequantized(&self, dtype: DType) -> Result<DeviceBuffer, Nf4Error> {
        let bytes = self.blocks.shape.num_elements().saturating_mul(dtype.size_bytes());
        let mut out = self.blocks.packed.executor().allocate(bytes)?;
        dequantize(Dequantize { blocks: self.blocks, dtype, first: 0, out: &mut out })?;
        Ok(out)
    }
}
