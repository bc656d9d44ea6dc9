//! AdamW over the trainable parameters of a run.

mod groups;

use adamw::launch::{self, GradNorm};
use adamw::{AdamW, Group, Step, clip_coefficient, grad_norm, step};
use device::launch::Executor;
use device::{Buffer, DType, Device};
use model::Modules;
use tensor::{Gradients, Parameters};

use crate::Error;
use crate::config::Training;

/// The method, its moments, and how many steps it has taken. It computes where the parameters are.
pub struct Optimizer {
    method: AdamW,
    groups: Vec<Group>,
    max_grad_norm: f64,
    /// Means of the gradients, in the order of the parameters.
    pub(super) exp_avg: Buffer,
    /// Means of the squared gradients.
    pub(super) exp_avg_sq: Buffer,
    norm: Norm,
    /// Steps taken.
    pub(super) steps: u64,
}

/// What the latest gradients are scaled with.
enum Norm {
    Host {
        grad_scale: f32,
    },
    /// A factor that stays where the step reads it.
    Device(GradNorm),
}

impl Optimizer {
    /// For `parameters` of a method on a base with `modules`, with the constants of `training`.
    ///
    /// # Errors
    /// No memory for the moments.
    pub fn new(parameters: &Parameters, training: &Training, modules: &Modules) -> Result<Self, Error> {
        let (device, count) = (parameters.device(), parameters.count());
        let moments = || Buffer::zeroed(device, DType::F32, count);
        Ok(Self {
            method: AdamW {
                beta1: training.adam_beta1,
                beta2: training.adam_beta2,
                epsilon: training.adam_epsilon,
                weight_decay: training.weight_decay,
            },
            groups: groups::groups(parameters, training, modules),
            max_grad_norm: training.max_grad_norm,
            exp_avg: moments()?,
            exp_avg_sq: moments()?,
            norm: match device {
                Device::Cpu => Norm::Host { grad_scale: 1.0 },
                _ => Norm::Device(GradNorm::new(&Executor::for_device(device)?, count)?),
            },
            steps: 0,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The norm of all gradients, which the next step clips. Waits for a device.
    ///
    /// # Errors
    /// None on the CPU; a device that fails.
    pub fn grad_norm(&mut self, gradients: &Gradients) -> Result<f64, Error> {
        let max_grad_norm = self.max_grad_norm;
        match &mut self.norm {
            Norm::Host { grad_scale } => {
                let norm = grad_norm(gradients.flat()?);
                *grad_scale = scale(norm, max_grad_norm);
                Ok(norm)
            }
            Norm::Device(norm) => {
                let max_norm = if max_grad_norm > 0.0 { max_grad_norm as f32 } else { f32::INFINITY };
                norm.clip(gradients.flat_on_device()?, max_norm)?;
                Ok(norm.norm()?)
            }
        }
    }

    /// The factor that gradients of norm `grad_norm` are clipped with.
    pub fn grad_scale(&self, grad_norm: f64) -> f32 {
        scale(grad_norm, self.max_grad_norm)
    }

    /// Clips `gradients`, whose norm was taken last, and takes a step.
    ///
    /// # Errors
    /// Buffers that do not belong together, which is a mistake of this program; a device that fails.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Gradients, learning_rate: f64) -> Result<(), Error> {
        let (number, method, groups) = (self.steps + 1, &self.method, &self.groups);
        match &self.norm {
            Norm::Host { grad_scale } => {
                let (grad_scale, gradients) = (*grad_scale, gradients.flat()?);
                let (exp_avg, exp_avg_sq) = (self.exp_avg.f32_mut()?, self.exp_avg_sq.f32_mut()?);
                parameters.update(|parameters| {
                    step(
                        method,
                        Step {
                            step: number,
                            learning_rate,
                            grad_scale,
                            groups,
                            gradients,
                            parameters,
                            exp_avg,
                            exp_avg_sq,
                        },
                    )
                })??;
            }
            Norm::Device(norm) => {
                let gradients = gradients.flat_on_device()?;
                let (exp_avg, exp_avg_sq) = (self.exp_avg.memory_mut()?, self.exp_avg_sq.memory_mut()?);
                parameters.update_on_device(|parameters| {
                    let args = launch::Step {
                        step: number,
                        learning_rate,
                        grad_scale: norm.grad_scale(),
                        groups,
                        gradients,
                        parameters,
                        exp_avg,
                        exp_avg_sq,
                        shadow: None,
                    };
                    launch::step(method, args)
                })??;
            }
        }
        self.steps = number;
        Ok(())
    }
}

/// The factor that brings gradients of this norm to `max_grad_norm`, if they are above it; 0 turns that off.
fn scale(grad_norm: f64, max_grad_norm: f64) -> f32 {
    if max_grad_norm > 0.0 { clip_coefficient(grad_norm, max_grad_norm as f32) } else { 1.0 }
}
