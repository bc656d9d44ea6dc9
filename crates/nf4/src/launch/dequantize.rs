//! Launching dequantization.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{NF4_DEQUANTIZE_BF16, NF4_DEQUANTIZE_F32};
use super::params::{NF4_CODEBOOK_BYTES, NF4_DEQUANTIZE_ELEMENTS, NF4_DEQUANTIZE_THREADS, Nf4DequantizeParams};
use super::{Blocks, of_dtype};
use crate::{CODEBOOK, Nf4Error};

/// Operands of [`dequantize()`], all on one device.
#[derive(Debug)]
pub struct Dequantize<'a> {
    /// The tensor.
    pub blocks: Blocks<'a>,
    /// Of `out`: f32 or bf16.
    pub dtype: DType,
    /// The first element wanted.
    pub first: usize,
    /// The elements from `first` on, as many as it holds. Overwritten.
    pub out: &'a mut DeviceBuffer,
}

/// Dequantizes a part of a tensor, to the bits that [`crate::dequantize()`] gives.
///
/// # Errors
/// [`Nf4Error::Length`], [`Nf4Error::KernelNestedBlockSize`], [`Nf4Error::Range`], [`Nf4Error::KernelDType`];
/// [`Nf4Error::Device`] for buffers of different devices and for what a launch refuses.
pub fn dequantize(args: Dequantize<'_>) -> Result<(), Nf4Error> {
    let Dequantize { blocks, dtype, first, out } = args;
    let kernel = of_dtype(dtype, &NF4_DEQUANTIZE_F32, &NF4_DEQUANTIZE_BF16)?;
    let executor = blocks.check()?;
    Executor::of(blocks.packed, [&*out])?;
    let (len, num_elements) = (out.len_bytes() / dtype.size_bytes(), blocks.shape.num_elements());
    if first > num_elements || len > num_elements - first {
        return Err(Nf4Error::Range { first, len, num_elements });
    }
    let params = Nf4DequantizeParams {
        weight: blocks.params(),
        out: out.address(),
        first: first as u64,
        len: len as u64,
        codebook: CODEBOOK,
    };
    let grid = Grid::covering(len, NF4_DEQUANTIZE_ELEMENTS, NF4_DEQUANTIZE_THREADS)
        .with_shared(NF4_CODEBOOK_BYTES)
        .doing(Work::bytes(len / 2) + Work::over([&*out]));
    // SAFETY: the buffers were checked to be of this executor and to hold the tensor, `out` to hold `len` elements, which lie in
    // it; `out` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
