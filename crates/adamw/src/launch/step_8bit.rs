//! Launching one step with moments in 8 bits.

use blockwise::DynamicMap;
use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};

use super::check_len;
use super::kernels::{ADAMW_STEP_8BIT_BF16, ADAMW_STEP_8BIT_F32};
use super::params::{ADAMW_8BIT_SHARED_BYTES, ADAMW_CODE_BLOCK, ADAMW_THREADS, AdamWStep8bitParams};
use crate::step_8bit::rates;
use crate::{AdamW, AdamWError, Result, num_code_blocks};

const _: () = assert!(ADAMW_CODE_BLOCK as usize == blockwise::BLOCK_SIZE, "a thread block takes a block of codes");

/// What codes stand for, on a device: made once for an optimizer.
#[derive(Debug)]
pub struct Maps {
    signed: DeviceBuffer,
    unsigned: DeviceBuffer,
}

impl Maps {
    /// On `executor`.
    ///
    /// # Errors
    /// [`crate::AdamWError::Device`] if the memory cannot be had.
    pub fn new(executor: &Executor) -> Result<Self> {
        let upload = |map: &DynamicMap| executor.upload(map.values());
        Ok(Self { signed: upload(DynamicMap::signed())?, unsigned: upload(DynamicMap::unsigned())? })
    }
}

/// One moment of a tensor: [`crate::Codes`].
#[derive(Debug)]
pub struct Codes<'a> {
    /// A u8 for each parameter; zero before step 1.
    pub codes: &'a mut DeviceBuffer,
    /// An f32 for each block; zero before step 1.
    pub absmax: &'a mut DeviceBuffer,
}

/// The buffers of one step of one tensor, all on one device.
#[derive(Debug)]
pub struct Step8bit<'a> {
    /// Number of this step, from 1.
    pub step: u64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// One f32, the factor of every gradient: [`super::GradNorm::grad_scale`]. With NaN nothing is changed.
    pub grad_scale: &'a DeviceBuffer,
    /// What codes stand for.
    pub maps: &'a Maps,
    /// Gradients, f32.
    pub gradients: &'a DeviceBuffer,
    /// Parameters, f32, updated.
    pub parameters: &'a mut DeviceBuffer,
    /// First moments, updated.
    pub exp_avg: Codes<'a>,
    /// Second moments, updated.
    pub exp_avg_sq: Codes<'a>,
    /// The updated parameters rounded to bf16, if wanted.
    pub shadow: Option<&'a mut DeviceBuffer>,
}

/// Updates parameters and moments of one tensor, to the bits that [`crate::step_8bit()`] gives.
///
/// # Errors
/// Those of [`crate::step_8bit()`]; [`crate::AdamWError::Device`] for buffers of different devices and for what a launch refuses.
pub fn step_8bit(method: &AdamW, args: Step8bit<'_>) -> Result<()> {
    let Step8bit { grad_scale, maps, gradients, parameters, exp_avg, exp_avg_sq, shadow, .. } = args;
    let len = parameters.len_bytes() / DType::F32.size_bytes();
    check_len("parameters", parameters, DType::F32, len)?;
    check_len("gradients", gradients, DType::F32, len)?;
    check_len("grad_scale", grad_scale, DType::F32, 1)?;
    let moments = [("exp_avg", "exp_avg.absmax", &exp_avg), ("exp_avg_sq", "exp_avg_sq.absmax", &exp_avg_sq)];
    for (argument, scales, Codes { codes, absmax }) in moments {
        let got = codes.len_bytes();
        if got != len {
            return Err(AdamWError::Length { argument, expected: len, got });
        }
        check_len(scales, absmax, DType::F32, num_code_blocks(len))?;
    }
    if let Some(shadow) = &shadow {
        check_len("shadow", shadow, DType::BF16, len)?;
    }
    let rates = rates(method, len, args.learning_rate, args.step)?;
    let own = [gradients, grad_scale, &maps.signed, &maps.unsigned];
    let states = [&*exp_avg.codes, &*exp_avg.absmax, &*exp_avg_sq.codes, &*exp_avg_sq.absmax];
    let executor = Executor::of(parameters, own.into_iter().chain(states).chain(shadow.as_deref()))?;
    let params = AdamWStep8bitParams {
        gradients: gradients.address(),
        parameters: parameters.address(),
        exp_avg: exp_avg.codes.address(),
        exp_avg_absmax: exp_avg.absmax.address(),
        exp_avg_sq: exp_avg_sq.codes.address(),
        exp_avg_sq_absmax: exp_avg_sq.absmax.address(),
        signed_map: maps.signed.address(),
        unsigned_map: maps.unsigned.address(),
        shadow: shadow.as_ref().map_or(0, |shadow| shadow.address()),
        grad_scale: grad_scale.address(),
        len: len as u64,
        rates: rates.into(),
        padding: 0,
    };
    let kernel = if shadow.is_some() { &ADAMW_STEP_8BIT_BF16 } else { &ADAMW_STEP_8BIT_F32 };
    // Gradients are read; parameters and the codes and scales of both moments read and written; a shadow written.
    let updated = || [&*parameters].into_iter().chain(states);
    let work = Work::over([gradients].into_iter().chain(updated()).chain(updated()).chain(shadow.as_deref()));
    let grid = Grid::covering(len, ADAMW_CODE_BLOCK, ADAMW_THREADS).with_shared(ADAMW_8BIT_SHARED_BYTES).doing(work);
    // SAFETY: the buffers were checked to be of this executor and to be as long as `len` asks for; what is written is borrowed
    // mutably.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}
