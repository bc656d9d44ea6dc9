//! Launching quantization.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{NF4_QUANTIZE_BF16, NF4_QUANTIZE_F32};
use super::params::{NF4_QUANTIZE_ELEMENTS, NF4_QUANTIZE_SHARED_BYTES, NF4_QUANTIZE_THREADS, Nf4QuantizeParams};
use super::{check_bytes, check_elements, of_dtype};
use crate::codebook::THRESHOLDS;
use crate::quantize::SMALLEST;
use crate::{Nf4Error, Nf4Shape};

/// Operands of [`quantize()`], all on one device.
#[derive(Debug)]
pub struct Quantize<'a> {
    /// Of `x`: f32 or bf16.
    pub dtype: DType,
    /// The tensor, row by row.
    pub x: &'a DeviceBuffer,
    /// Codes, [`Nf4Shape::packed_len`] bytes. Overwritten.
    pub packed: &'a mut DeviceBuffer,
    /// Largest magnitude of each block, [`Nf4Shape::num_blocks`] f32. Overwritten.
    pub absmax: &'a mut DeviceBuffer,
}

/// Quantizes to the codes and magnitudes that [`crate::quantize()`] gives.
///
/// # Errors
/// [`Nf4Error::Length`], [`Nf4Error::KernelDType`]; [`Nf4Error::Device`] for buffers of different devices and for what a launch
/// refuses.
pub fn quantize(shape: &Nf4Shape, args: Quantize<'_>) -> Result<(), Nf4Error> {
    let Quantize { dtype, x, packed, absmax } = args;
    let kernel = of_dtype(dtype, &NF4_QUANTIZE_F32, &NF4_QUANTIZE_BF16)?;
    check_elements("x", x, dtype, shape.num_elements())?;
    check_bytes("packed", packed, shape.packed_len())?;
    check_elements("absmax", absmax, DType::F32, shape.num_blocks())?;
    let executor = Executor::of(x, [&*packed, &*absmax])?;
    let params = Nf4QuantizeParams {
        x: x.address(),
        packed: packed.address(),
        absmax: absmax.address(),
        num_elements: shape.num_elements() as u64,
        block_size: shape.block_size() as u32,
        smallest: SMALLEST,
        thresholds: THRESHOLDS,
        padding: 0,
    };
    let grid = Grid::covering(shape.num_elements(), NF4_QUANTIZE_ELEMENTS, NF4_QUANTIZE_THREADS)
        .with_shared(NF4_QUANTIZE_SHARED_BYTES)
        .doing(Work::over([x, &*packed, &*absmax]));
    // SAFETY: the buffers were checked to be of this executor and to be as long as the shape says; both results are borrowed
    // mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
