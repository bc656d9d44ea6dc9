//! Launching one step.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::check_len;
use super::kernels::{ADAMW_STEP_BF16, ADAMW_STEP_F32};
use super::params::{ADAMW_STEP_ELEMENTS, ADAMW_THREADS, AdamWStepParams};
use crate::step::{Rates, check_groups, check_method};
use crate::{AdamW, Group, Result};

/// The buffers of one step, all on one device.
#[derive(Debug)]
pub struct Step<'a> {
    /// Number of this step, from 1.
    pub step: u64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// One f32, the factor of every gradient: [`super::GradNorm::grad_scale`]. With NaN nothing is changed.
    pub grad_scale: &'a DeviceBuffer,
    /// The groups, one after another from parameter 0 to the last. Each is one launch.
    pub groups: &'a [Group],
    /// Gradients, f32.
    pub gradients: &'a DeviceBuffer,
    /// Parameters, f32, updated.
    pub parameters: &'a mut DeviceBuffer,
    /// First moments, f32, updated; zero before step 1.
    pub exp_avg: &'a mut DeviceBuffer,
    /// Second moments, f32, updated; zero before step 1.
    pub exp_avg_sq: &'a mut DeviceBuffer,
    /// The updated parameters rounded to bf16, if wanted.
    pub shadow: Option<&'a mut DeviceBuffer>,
}

/// Updates parameters and moments, to the bits that [`crate::step()`] gives.
///
/// # Errors
/// Those of [`crate::step()`]; [`crate::AdamWError::Device`] for buffers of different devices and for what a launch refuses.
pub fn step(method: &AdamW, args: Step<'_>) -> Result<()> {
    let Step { gradients, parameters, exp_avg, exp_avg_sq, grad_scale, shadow, .. } = args;
    let len = parameters.len_bytes() / DType::F32.size_bytes();
    check_len("parameters", parameters, DType::F32, len)?;
    check_len("gradients", gradients, DType::F32, len)?;
    check_len("exp_avg", exp_avg, DType::F32, len)?;
    check_len("exp_avg_sq", exp_avg_sq, DType::F32, len)?;
    check_len("grad_scale", grad_scale, DType::F32, 1)?;
    if let Some(shadow) = &shadow {
        check_len("shadow", shadow, DType::BF16, len)?;
    }
    check_groups(args.groups, len)?;
    check_method(method, args.step)?;
    let executor =
        Executor::of(parameters, [gradients, exp_avg, exp_avg_sq, grad_scale].into_iter().chain(shadow.as_deref()))?;

    let kernel = if shadow.is_some() { &ADAMW_STEP_BF16 } else { &ADAMW_STEP_F32 };
    for group in args.groups {
        let at =
            |buffer: &DeviceBuffer, dtype: DType| buffer.address() + (group.range.start * dtype.size_bytes()) as u64;
        let params = AdamWStepParams {
            gradients: at(gradients, DType::F32),
            parameters: at(parameters, DType::F32),
            exp_avg: at(exp_avg, DType::F32),
            exp_avg_sq: at(exp_avg_sq, DType::F32),
            shadow: shadow.as_ref().map_or(0, |shadow| at(shadow, DType::BF16)),
            grad_scale: grad_scale.address(),
            len: group.range.len() as u64,
            rates: Rates::new(method, group, args.learning_rate, args.step).into(),
            padding: 0,
        };
        // Gradients are read; parameters and both moments read and written; a shadow of two bytes written.
        let element_bytes = 7 * DType::F32.size_bytes() + if shadow.is_some() { DType::BF16.size_bytes() } else { 0 };
        let grid = Grid::covering(group.range.len(), ADAMW_STEP_ELEMENTS, ADAMW_THREADS)
            .doing(Work::bytes(group.range.len() * element_bytes));
        // SAFETY: the buffers were checked to be of this executor and to hold `len` elements, the groups to lie within
        // them, and what is written is borrowed mutably.
        unsafe { executor.launch(kernel, grid, &params)? };
    }
    Ok(())
}
