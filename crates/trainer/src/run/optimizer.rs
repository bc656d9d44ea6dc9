//! AdamW over the trainable parameters of a run, all in one group as `torch.optim.AdamW(parameters)` has them.

use adamw::{AdamW, Group, Step, clip_coefficient, grad_norm, step};
use device::{Buffer, DType, Device};
use tensor::{Gradients, Parameters};

use crate::Error;
use crate::config::Training;

/// The method, its moments, and how many steps it has taken.
pub struct Optimizer {
    method: AdamW,
    groups: [Group; 1],
    max_grad_norm: f64,
    /// Means of the gradients, in the order of the parameters.
    pub(super) exp_avg: Buffer,
    /// Means of the squared gradients.
    pub(super) exp_avg_sq: Buffer,
    /// Steps taken.
    pub(super) steps: u64,
}

impl Optimizer {
    /// For `parameters`, with the constants of `training`.
    ///
    /// # Errors
    /// No memory for the moments.
    pub fn new(parameters: &Parameters, training: &Training) -> Result<Self, Error> {
        let moments = || Buffer::zeroed(Device::Cpu, DType::F32, parameters.count());
        Ok(Self {
            method: AdamW {
                beta1: training.adam_beta1,
                beta2: training.adam_beta2,
                epsilon: training.adam_epsilon,
                weight_decay: training.weight_decay,
            },
            groups: [Group { range: 0..parameters.count(), learning_rate: 1.0, weight_decay: 1.0 }],
            max_grad_norm: training.max_grad_norm,
            exp_avg: moments()?,
            exp_avg_sq: moments()?,
            steps: 0,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Clips `gradients` of norm `grad_norm` and takes a step.
    ///
    /// # Errors
    /// Buffers that do not belong together, which is a mistake of this program.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        grad_norm: f64,
        learning_rate: f64,
    ) -> Result<(), Error> {
        let clips = self.max_grad_norm > 0.0;
        let grad_scale = if clips { clip_coefficient(grad_norm, self.max_grad_norm as f32) } else { 1.0 };
        let gradients = gradients.flat()?;
        let (exp_avg, exp_avg_sq) = (self.exp_avg.f32_mut()?, self.exp_avg_sq.f32_mut()?);
        let (number, groups) = (self.steps + 1, &self.groups);
        parameters.update(|parameters| {
            step(
                &self.method,
                Step { step: number, learning_rate, grad_scale, groups, gradients, parameters, exp_avg, exp_avg_sq },
            )
        })??;
        self.steps = number;
        Ok(())
    }
}

/// The norm of all gradients, before clipping.
///
/// # Errors
/// None on the CPU.
pub fn norm(gradients: &Gradients) -> Result<f64, Error> {
    Ok(grad_norm(gradients.flat()?))
}
