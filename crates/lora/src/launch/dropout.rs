//! Launching dropout by itself.

use bytemuck::Zeroable;
use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{DROPOUT_BF16, DROPOUT_F32};
use super::params::{DROPOUT_THREADS, DropoutParams, LoraDropout};
use super::{Gradient, check_buffer, of_dtype};
use crate::{Dropout, LoraError};

/// Elements of a thread: those that share a block of random words.
const PER_THREAD: u32 = 4;

/// Writes `mask / (1 - p) * x` to `y`, or adds it to what `y` holds; both hold `len` elements of `dtype`, f32 or bf16. The mask
/// is the one of [`Dropout::apply`], and it is its own gradient: that of `y` gives that of `x`.
///
/// # Errors
/// [`LoraError::Length`], [`LoraError::KernelDType`] for f16, [`LoraError::Device`] for buffers of different devices and for
/// what a launch refuses.
pub fn dropout(
    dropout: &Dropout,
    dtype: DType,
    len: usize,
    x: &DeviceBuffer,
    y: Gradient<'_>,
) -> Result<(), LoraError> {
    let kernel = of_dtype(dtype, &DROPOUT_F32, &DROPOUT_BF16)?;
    check_buffer("x", [1, len], dtype, x)?;
    check_buffer("y", [1, len], dtype, y.values)?;
    let executor = Executor::of(x, [&*y.values])?;
    let params = DropoutParams {
        x: x.address(),
        y: y.values.address(),
        len: len as u64,
        dropout: params(Some(*dropout)),
        add: u64::from(y.add),
    };
    let grid = Grid::covering(len, PER_THREAD * DROPOUT_THREADS, DROPOUT_THREADS);
    // SAFETY: both buffers were checked to be of this executor and to hold `len` elements; `y` is borrowed mutably.
    Ok(unsafe { executor.launch(kernel, grid.doing(Work::over([x, &*y.values])), &params) }?)
}

/// What kernels draw the mask from.
pub(super) fn params(dropout: Option<Dropout>) -> LoraDropout {
    let Some(dropout) = dropout else { return LoraDropout { scale: 1.0, ..LoraDropout::zeroed() } };
    let (key, [step, site]) = dropout.stream().parts();
    LoraDropout { key, step, site, threshold: dropout.threshold(), scale: dropout.scale() }
}
