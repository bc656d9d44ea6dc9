//! Launching the cross-entropy: [`crate::cross_entropy`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::kernels::{CROSS_ENTROPY_BF16, CROSS_ENTROPY_F32, CROSS_ENTROPY_LOSS_F32, CROSS_ENTROPY_SUM_F64};
use super::params::{
    CROSS_ENTROPY_IGNORED, CROSS_ENTROPY_SHARED_BYTES, CROSS_ENTROPY_THREADS, CrossEntropyLossParams,
    CrossEntropyParams, CrossEntropySumParams,
};
use super::{check_len, of_dtype};
use crate::cross_entropy::{IGNORE_INDEX, LossSum, Shape};
use crate::{Result, TransformerError};

const OP: &str = "cross_entropy";

const _: () = assert!(CROSS_ENTROPY_IGNORED as i64 == IGNORE_INDEX);

/// Labels on a device. A kernel cannot refuse a label outside the vocabulary, so they are checked when they are copied.
#[derive(Debug)]
pub struct Labels {
    /// `[rows]` i64
    values: DeviceBuffer,
    rows: usize,
    /// What they are checked for.
    vocab_size: usize,
}

impl Labels {
    /// Copies `labels`, each below `vocab_size` or -100, to `executor`.
    ///
    /// # Errors
    /// [`TransformerError::Label`] for another one, [`TransformerError::Device`] without memory.
    pub fn new(executor: &Executor, labels: &[i64], vocab_size: usize) -> Result<Self> {
        Shape { rows: labels.len(), vocab_size, softcap: None }.check(labels)?;
        Ok(Self { values: executor.constant(labels)?, rows: labels.len(), vocab_size })
    }
}

/// Sums of losses, kept on a device from one chunk of rows to the next.
#[derive(Debug)]
pub struct Sums(DeviceBuffer);

impl Sums {
    /// Zeros.
    ///
    /// # Errors
    /// [`TransformerError::Device`] without memory.
    pub fn new(executor: &Executor) -> Result<Self> {
        let mut sums = executor.allocate(3 * size_of::<f64>())?;
        sums.zero()?;
        Ok(Self(sums))
    }

    /// The loss as an f32 on the device, for which nothing waits.
    ///
    /// # Errors
    /// [`TransformerError::Device`] without memory, and for what a launch refuses.
    pub fn loss(&self) -> Result<DeviceBuffer> {
        let executor = self.0.executor();
        let loss = executor.allocate(size_of::<f32>())?;
        let params = CrossEntropyLossParams { sums: self.0.address(), loss: loss.address() };
        let grid = Grid::linear(1, Grid::WARP).doing(Work::over([&self.0, &loss]));
        // SAFETY: `loss` was just made for one f32 by the executor of the sums, which are three f64.
        unsafe { executor.launch(&CROSS_ENTROPY_LOSS_F32, grid, &params)? };
        Ok(loss)
    }

    /// Waits for them.
    ///
    /// # Errors
    /// [`TransformerError::Device`] if something that was started failed.
    pub fn read(&self) -> Result<LossSum> {
        let sums = self.0.read::<f64>()?;
        // Counts of rows are exact in f64.
        Ok(LossSum { loss: sums[0], num_supervised: sums[1] as usize, num_correct: sums[2] as usize })
    }
}

/// Adds the losses of all rows to `sums`; the logits, `[rows, vocab_size]` of `dtype`, f32 or bf16, are read alone.
///
/// # Errors
/// [`TransformerError::Softcap`], [`TransformerError::Length`] for a buffer that does not fit, or for labels that were checked
/// for another vocabulary, [`TransformerError::KernelDType`] for f16, [`TransformerError::Device`] for buffers of different
/// devices, without memory, and for what a launch refuses.
pub fn forward(shape: Shape, dtype: DType, logits: &DeviceBuffer, labels: &Labels, sums: &mut Sums) -> Result<()> {
    launch(shape, dtype, logits, labels, sums, None)
}

/// As [`forward`], and replaces the logits by the gradient of `scale` times the sum of the losses.
///
/// # Errors
/// As [`forward`].
pub fn forward_backward(
    shape: Shape,
    dtype: DType,
    logits: &mut DeviceBuffer,
    labels: &Labels,
    scale: f32,
    sums: &mut Sums,
) -> Result<()> {
    launch(shape, dtype, logits, labels, sums, Some(scale))
}

/// The kernel writes `logits` only for a `gradient`; the caller has then borrowed them mutably.
fn launch(
    shape: Shape,
    dtype: DType,
    logits: &DeviceBuffer,
    labels: &Labels,
    sums: &mut Sums,
    gradient: Option<f32>,
) -> Result<()> {
    let kernel = of_dtype(OP, dtype, &CROSS_ENTROPY_F32, &CROSS_ENTROPY_BF16)?;
    let Shape { rows, vocab_size, softcap } = shape;
    softcap.map_or(Ok(()), crate::softcap::check)?;
    for (argument, expected, got) in [("labels", rows, labels.rows), ("vocabulary", vocab_size, labels.vocab_size)] {
        if expected != got {
            return Err(TransformerError::Length { op: OP, argument, expected, got });
        }
    }
    check_len(OP, "logits", &[rows, vocab_size], dtype, logits)?;
    let executor = Executor::of(logits, [&labels.values, &sums.0])?;
    let losses = executor.allocate(rows * size_of::<f64>())?;
    let correct = executor.allocate(rows * size_of::<u32>())?;
    let each_row = CrossEntropyParams {
        logits: logits.address(),
        labels: labels.values.address(),
        losses: losses.address(),
        correct: correct.address(),
        vocab: vocab_size as u64,
        scale: gradient.unwrap_or(0.0),
        cap: softcap.unwrap_or(0.0),
        gradient: u64::from(gradient.is_some()),
    };
    let all_rows = CrossEntropySumParams {
        losses: losses.address(),
        correct: correct.address(),
        labels: labels.values.address(),
        sums: sums.0.address(),
        rows: rows as u64,
    };
    // Logits are read, and written again as their gradient.
    let of_rows = [&labels.values, &losses, &correct];
    let row_work = Work::over([logits].into_iter().chain(gradient.map(|_| logits)).chain(of_rows));
    let sum_work = Work::over(of_rows.into_iter().chain([&sums.0]));
    let grid = |blocks, work| {
        Grid::covering(blocks, 1, CROSS_ENTROPY_THREADS).with_shared(CROSS_ENTROPY_SHARED_BYTES).doing(work)
    };
    // SAFETY: the buffers were checked to be of this executor and to hold what the shape says, with one block for each row, and
    // the labels to be columns; `sums` is borrowed mutably, `logits` too where the kernel writes them.
    unsafe {
        executor.launch(kernel, grid(rows, row_work), &each_row)?;
        executor.launch(&CROSS_ENTROPY_SUM_F64, grid(1, sum_work), &all_rows)?;
    }
    Ok(())
}
