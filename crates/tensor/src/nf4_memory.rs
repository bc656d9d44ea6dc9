//! A quantized matrix in the memory of a device.

use device::launch::{DeviceBuffer, Executor};
use device::{DType, DeviceError};
use nf4::{NESTED_BLOCK_SIZE, Nf4Error, Nf4Shape, dynamic_map, launch};

use crate::nf4_parts::{Nf4Absmax, Nf4Parts, OP, shared};
use crate::{Result, Tensor, TensorError};

/// Codes and scales where kernels read them.
#[derive(Debug)]
pub(crate) struct Nf4Memory {
    sizes: [usize; 2],
    shape: Nf4Shape,
    dtype: DType,
    packed: DeviceBuffer,
    absmax: AbsmaxMemory,
}

#[derive(Debug)]
enum AbsmaxMemory {
    F32(DeviceBuffer),
    Nested {
        codes: DeviceBuffer,
        map: DeviceBuffer,
        nested_absmax: DeviceBuffer,
        offset: DeviceBuffer,
        nested_block_size: usize,
    },
}

impl Nf4Memory {
    /// A copy of the parts of a matrix of `sizes`, whose values are rounded to `dtype`.
    pub(crate) fn upload(
        executor: &Executor,
        sizes: [usize; 2],
        shape: Nf4Shape,
        dtype: DType,
        parts: &Nf4Parts,
    ) -> Result<Self, DeviceError> {
        let absmax = match &parts.absmax {
            Nf4Absmax::F32(absmax) => AbsmaxMemory::F32(executor.upload(absmax)?),
            Nf4Absmax::Nested { codes, map, nested_absmax, offset, nested_block_size } => AbsmaxMemory::Nested {
                codes: executor.upload(codes.as_slice())?,
                map: executor.constant(&map[..])?,
                nested_absmax: executor.upload(nested_absmax)?,
                offset: executor.upload(&[*offset])?,
                nested_block_size: *nested_block_size,
            },
        };
        Ok(Self { sizes, shape, dtype, packed: executor.upload(parts.packed.as_slice())?, absmax })
    }

    /// Quantizes a matrix of `sizes` that is on a device, f32 or bf16: see [`crate::Nf4Matrix::quantize`].
    pub(crate) fn quantize(
        sizes: [usize; 2],
        shape: Nf4Shape,
        dtype: DType,
        tensor: &Tensor,
        double_quant: bool,
    ) -> Result<Self> {
        let x = tensor.on_device(OP, "tensor", tensor.dtype())?;
        let executor = x.executor();
        let f32s = |count: usize| executor.allocate(count * DType::F32.size_bytes());
        let mut packed = executor.allocate(shape.packed_len())?;
        let mut absmax = f32s(shape.num_blocks())?;
        let args = launch::Quantize { dtype: tensor.dtype(), x: &x, packed: &mut packed, absmax: &mut absmax };
        launch::quantize(&shape, args).map_err(TensorError::kernel(OP))?;
        if !double_quant {
            return Ok(Self { sizes, shape, dtype, packed, absmax: AbsmaxMemory::F32(absmax) });
        }
        let (map, mut codes) = (executor.constant(dynamic_map())?, executor.allocate(shape.num_blocks())?);
        let (mut nested_absmax, mut offset) = (f32s(shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE))?, f32s(1)?);
        let args = launch::QuantizeAbsmax {
            absmax: &absmax,
            map: &map,
            codes: &mut codes,
            nested_absmax: &mut nested_absmax,
            offset: &mut offset,
        };
        launch::quantize_absmax(args).map_err(TensorError::kernel(OP))?;
        let absmax = AbsmaxMemory::Nested { codes, map, nested_absmax, offset, nested_block_size: NESTED_BLOCK_SIZE };
        Ok(Self { sizes, shape, dtype, packed, absmax })
    }

    /// A copy of the parts on the CPU, for which this waits.
    pub(crate) fn download(&self) -> Result<Nf4Parts> {
        let absmax = match &self.absmax {
            AbsmaxMemory::F32(absmax) => Nf4Absmax::F32(absmax.read()?),
            AbsmaxMemory::Nested { codes, map, nested_absmax, offset, nested_block_size } => {
                let mut of_codes = Box::new([0.0; 256]);
                map.read_into(&mut of_codes[..])?;
                Nf4Absmax::Nested {
                    codes: shared(codes.read()?),
                    map: of_codes,
                    nested_absmax: nested_absmax.read()?,
                    offset: offset.read()?[0],
                    nested_block_size: *nested_block_size,
                }
            }
        };
        Ok(Nf4Parts { block_size: self.shape.block_size(), packed: shared(self.packed.read()?), absmax })
    }

    /// Bytes that it takes, but for what is one number.
    pub(crate) fn size_bytes(&self) -> usize {
        let absmax = match &self.absmax {
            AbsmaxMemory::F32(absmax) => absmax.len_bytes(),
            AbsmaxMemory::Nested { codes, map, nested_absmax, .. } => {
                codes.len_bytes() + map.len_bytes() + nested_absmax.len_bytes()
            }
        };
        self.packed.len_bytes() + absmax
    }

    /// It as kernels take it, `[out_features, in_features]`.
    ///
    /// # Errors
    /// [`Nf4Error::KernelDType`] and [`Nf4Error::KernelNestedBlockSize`] for what kernels do not have.
    pub(crate) fn matrix(&self) -> Result<launch::Matrix<'_>, Nf4Error> {
        let absmax = match &self.absmax {
            AbsmaxMemory::F32(absmax) => launch::Absmax::F32(absmax),
            AbsmaxMemory::Nested { codes, map, nested_absmax, offset, nested_block_size } => {
                let nested_block_size = *nested_block_size;
                launch::Absmax::Nested(launch::NestedAbsmax { codes, map, nested_absmax, offset, nested_block_size })
            }
        };
        let blocks = launch::Blocks { shape: self.shape, packed: &self.packed, absmax, dtype: self.dtype };
        launch::Matrix::new(blocks, self.sizes)
    }
}
