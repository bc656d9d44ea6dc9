//! Launching the gradient norm.

use bytemuck::Zeroable;
use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::check_len;
use super::kernels::{ADAMW_CLIP_F32, ADAMW_SUM_OF_SQUARES_F32};
use super::params::{
    ADAMW_NORM_ELEMENTS, ADAMW_NORM_SHARED_BYTES, ADAMW_THREADS, AdamWClipParams, AdamWOutcome, AdamWSumOfSquaresParams,
};
use crate::{Outcome, Result};

/// The norm of gradients on a device, and what is kept there from one step to the next.
#[derive(Debug)]
pub struct GradNorm {
    len: usize,
    /// `[ceil(len / ADAMW_NORM_ELEMENTS)]` f64
    partials: DeviceBuffer,
    /// One [`AdamWOutcome`].
    outcome: DeviceBuffer,
    /// One f32.
    grad_scale: DeviceBuffer,
}

impl GradNorm {
    /// For `len` gradients on `executor`. Until [`GradNorm::clip`], the norm is 0 and the factor 1.
    ///
    /// # Errors
    /// [`crate::AdamWError::Device`] if the memory cannot be had.
    pub fn new(executor: &Executor, len: usize) -> Result<Self> {
        Ok(Self {
            len,
            partials: executor.allocate(len.div_ceil(ADAMW_NORM_ELEMENTS as usize) * size_of::<f64>())?,
            outcome: executor.upload(&[AdamWOutcome::zeroed()])?,
            grad_scale: executor.upload(&[1.0f32])?,
        })
    }

    /// Computes the norm of `gradients` and [`Outcome::grad_scale`] of it, for a step with `losses`, f32. Does not wait.
    ///
    /// # Errors
    /// [`crate::AdamWError::Length`] for another number of gradients; [`crate::AdamWError::Device`] for a buffer of another device and
    /// for what a launch refuses.
    pub fn clip(&mut self, gradients: &DeviceBuffer, losses: &DeviceBuffer, max_norm: f32) -> Result<()> {
        check_len("gradients", gradients, DType::F32, self.len)?;
        let executor = Executor::of(&self.outcome, [gradients, losses])?;
        let sum = AdamWSumOfSquaresParams {
            gradients: gradients.address(),
            partials: self.partials.address(),
            len: self.len as u64,
        };
        let blocks = Grid::covering(self.len, ADAMW_NORM_ELEMENTS, ADAMW_THREADS).with_shared(ADAMW_NORM_SHARED_BYTES);
        let blocks = blocks.doing(Work::over([gradients]));
        let clip = AdamWClipParams {
            partials: self.partials.address(),
            losses: losses.address(),
            outcome: self.outcome.address(),
            grad_scale: self.grad_scale.address(),
            count: self.len.div_ceil(ADAMW_NORM_ELEMENTS as usize) as u64,
            loss_count: (losses.len_bytes() / DType::F32.size_bytes()) as u64,
            max_norm,
            padding: 0,
        };
        let one = Grid::linear(1, ADAMW_THREADS).with_shared(ADAMW_NORM_SHARED_BYTES);
        // SAFETY: the gradients were checked, and as many losses are read as there are; the other buffers were made by `new`
        // on this executor, for `len` gradients, and are borrowed mutably with `self`.
        unsafe {
            executor.launch(&ADAMW_SUM_OF_SQUARES_F32, blocks, &sum)?;
            executor.launch(&ADAMW_CLIP_F32, one, &clip)?;
        }
        Ok(())
    }

    /// The factor, one f32: what [`super::Step::grad_scale`] takes.
    pub fn grad_scale(&self) -> &DeviceBuffer {
        &self.grad_scale
    }

    /// Waits for what came of the steps.
    ///
    /// # Errors
    /// [`crate::AdamWError::Device`] if something that was started failed.
    pub fn outcome(&self) -> Result<Outcome> {
        let AdamWOutcome { norm, loss, failed } = self.outcome.read()?[0];
        Ok(Outcome { norm, loss, failed })
    }
}
