//! A quantized matrix in the memory of a device.

use device::launch::{DeviceBuffer, Executor};
use device::{DType, DeviceError};
use nf4::{Nf4Error, Nf4Shape, launch};

use crate::nf4_matrix::{Nf4Absmax, Nf4Parts};

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
                map: executor.upload(&map[..])?,
                nested_absmax: executor.upload(nested_absmax)?,
                offset: executor.upload(&[*offset])?,
                nested_block_size: *nested_block_size,
            },
        };
        Ok(Self { sizes, shape, dtype, packed: executor.upload(parts.packed.as_slice())?, absmax })
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
