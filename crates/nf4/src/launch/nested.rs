//! Launching double quantization.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{NF4_NESTED_F32, NF4_SUM_F32, NF4_SUM_F64};
use super::params::{
    NF4_NESTED_SHARED_BYTES, NF4_NESTED_THREADS, NF4_SUM_THREADS, NF4_SUM_VALUES, Nf4NestedParams, Nf4SumParams,
};
use super::{check_bytes, check_elements};
use crate::{NESTED_BLOCK_SIZE, Nf4Error};

const _: () = assert!(NF4_NESTED_THREADS as usize == NESTED_BLOCK_SIZE, "a thread block takes a nested block");

/// Operands of [`quantize_absmax()`], all on one device.
#[derive(Debug)]
pub struct QuantizeAbsmax<'a> {
    /// What [`quantize`](super::quantize()) wrote.
    pub absmax: &'a DeviceBuffer,
    /// [`crate::dynamic_map`], f32.
    pub map: &'a DeviceBuffer,
    /// A code for each, from `map`. Overwritten.
    pub codes: &'a mut DeviceBuffer,
    /// One f32 for each [`NESTED_BLOCK_SIZE`] of them. Overwritten.
    pub nested_absmax: &'a mut DeviceBuffer,
    /// One f32: their mean. Overwritten.
    pub offset: &'a mut DeviceBuffer,
}

/// Quantizes `absmax` to the codes, magnitudes and offset that [`crate::quantize_absmax()`] gives. Does not wait.
///
/// # Errors
/// [`Nf4Error::Length`]; [`Nf4Error::Device`] for buffers of different devices, without memory, and for what a launch refuses.
pub fn quantize_absmax(args: QuantizeAbsmax<'_>) -> Result<(), Nf4Error> {
    let QuantizeAbsmax { absmax, map, codes, nested_absmax, offset } = args;
    let len = codes.len_bytes();
    check_elements("absmax", absmax, DType::F32, len)?;
    check_elements("map", map, DType::F32, 256)?;
    check_bytes("codes", codes, len)?;
    check_elements("nested_absmax", nested_absmax, DType::F32, len.div_ceil(NESTED_BLOCK_SIZE))?;
    check_elements("offset", offset, DType::F32, 1)?;
    let executor = Executor::of(absmax, [map, &*codes, &*nested_absmax, &*offset])?;
    if len == 0 {
        return Ok(offset.zero()?);
    }
    mean(executor, absmax, len, offset)?;
    let params = Nf4NestedParams {
        absmax: absmax.address(),
        offset: offset.address(),
        map: map.address(),
        codes: codes.address(),
        nested_absmax: nested_absmax.address(),
        len: len as u64,
    };
    let grid = Grid::covering(len, NF4_NESTED_THREADS, NF4_NESTED_THREADS)
        .with_shared(NF4_NESTED_SHARED_BYTES)
        .doing(Work::over([absmax, map, &*codes, &*nested_absmax, &*offset]));
    // SAFETY: the buffers were checked to be of this executor and to be as long as `len` asks for; results are borrowed mutably.
    Ok(unsafe { executor.launch(&NF4_NESTED_F32, grid, &params) }?)
}

/// Writes the mean of `len` f32, not none, to `mean`.
fn mean(executor: &Executor, values: &DeviceBuffer, len: usize, mean: &mut DeviceBuffer) -> Result<(), Nf4Error> {
    let stage = |kernel: &'static Kernel<Nf4SumParams>, values: &DeviceBuffer, count: usize| {
        let num_sums = count.div_ceil(NF4_SUM_VALUES as usize);
        let sums = executor.allocate(num_sums * size_of::<f64>())?;
        let params = Nf4SumParams {
            values: values.address(),
            sums: sums.address(),
            mean: mean.address(),
            len: count as u64,
            mean_of: if num_sums == 1 { len as u64 } else { 0 },
        };
        let grid = Grid::covering(num_sums, NF4_SUM_THREADS, NF4_SUM_THREADS).doing(Work::over([values, &sums]));
        // SAFETY: `values` holds `count` values, as the caller checked or the stage before wrote; `sums` was just made for their
        // sums, and `mean` is borrowed mutably.
        unsafe { executor.launch(kernel, grid, &params)? };
        Ok::<_, Nf4Error>((sums, num_sums))
    };
    let (mut sums, mut count) = stage(&NF4_SUM_F32, values, len)?;
    while count > 1 {
        (sums, count) = stage(&NF4_SUM_F64, &sums, count)?;
    }
    Ok(())
}
