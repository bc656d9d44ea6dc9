//! AdamW over the trainable parameters of a run.

mod bytes;
mod groups;
mod moments;
mod update;

use adamw::launch::GradNorm;
use adamw::{AdamW, Group, Outcome, grad_norm};
use device::Device;
use device::launch::Executor;
use model::Modules;
use tensor::{Gradients, Parameters, Scalars};

use crate::Error;
use crate::config::Training;
pub use moments::moment_bytes;
pub(in crate::run) use moments::{Kept, Moment, Moments};
use update::Update;

/// The method, its moments, and how many steps it has taken. It computes where the parameters are.
pub struct Optimizer {
    method: AdamW,
    groups: Vec<Group>,
    max_grad_norm: f64,
    pub(super) moments: Moments,
    norm: Norm,
    /// Steps taken.
    pub(super) steps: u64,
}

/// What came of the steps, and with it the factor of the latest gradients.
enum Norm {
    Host(Outcome),
    /// Both stay where the step reads the factor.
    Device(GradNorm),
}

impl Optimizer {
    /// For `parameters` of a method on a base with `modules`, with the constants of `training`.
    ///
    /// # Errors
    /// No memory for the moments.
    pub fn new(parameters: &Parameters, training: &Training, modules: &Modules) -> Result<Self, Error> {
        let (device, count) = (parameters.device(), parameters.count());
        Ok(Self {
            method: AdamW {
                beta1: training.adam_beta1,
                beta2: training.adam_beta2,
                epsilon: training.adam_epsilon,
                weight_decay: training.weight_decay,
            },
            groups: groups::groups(parameters, training, modules),
            max_grad_norm: training.max_grad_norm,
            moments: Moments::new(parameters, training.optim, modules)?,
            norm: match device {
                Device::Cpu => Norm::Host(Outcome::default()),
                _ => Norm::Device(GradNorm::new(&Executor::for_device(device)?, count)?),
            },
            steps: 0,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes the norm of all gradients of a step with `losses`, by which [`Optimizer::step`] clips them. Does not wait for a
    /// device.
    ///
    /// If the norm or a loss is no number, this step and all after it change nothing, and [`Optimizer::outcome`] tells.
    ///
    /// # Errors
    /// None on the CPU; a device that fails.
    pub fn clip(&mut self, gradients: &Gradients, losses: &Scalars) -> Result<(), Error> {
        let max_norm = self.max_norm();
        match &mut self.norm {
            Norm::Host(outcome) => *outcome = outcome.next(grad_norm(gradients.flat()?), losses.values()?),
            Norm::Device(norm) => norm.clip(gradients.flat_on_device()?, &losses.on_device()?, max_norm)?,
        }
        Ok(())
    }

    /// The norm and the losses of the latest step, and whether one failed. Waits for a device.
    ///
    /// # Errors
    /// None on the CPU; a device that fails.
    pub fn outcome(&self) -> Result<Outcome, Error> {
        match &self.norm {
            Norm::Host(outcome) => Ok(*outcome),
            Norm::Device(norm) => Ok(norm.outcome()?),
        }
    }

    /// The norm above which gradients are scaled down.
    pub fn max_norm(&self) -> f32 {
        if self.max_grad_norm > 0.0 { self.max_grad_norm as f32 } else { f32::INFINITY }
    }

    /// Clips `gradients`, whose norm was taken last, and takes a step, unless one has failed.
    ///
    /// # Errors
    /// Buffers that do not belong together, which is a mistake of this program; a device that fails.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Gradients, learning_rate: f64) -> Result<(), Error> {
        let (step, max_norm) = (self.steps + 1, self.max_norm());
        let update = Update { method: self.method, groups: &self.groups, step, learning_rate };
        match &self.norm {
            Norm::Host(outcome) => {
                let (grad_scale, gradients) = (outcome.grad_scale(max_norm), gradients.flat()?);
                parameters
                    .update(|parameters| update.on_host(&mut self.moments, parameters, gradients, grad_scale))??;
            }
            Norm::Device(norm) => {
                let (grad_scale, gradients) = (norm.grad_scale(), gradients.flat_on_device()?);
                parameters.update_on_device(|parameters| {
                    update.on_device(&mut self.moments, parameters, gradients, grad_scale)
                })??;
            }
        }
        self.steps = step;
        Ok(())
    }
}

/// The name in the base of what a parameter stands in for.
fn base_name(name: &str) -> &str {
    name.strip_prefix(peft::names::PREFIX).unwrap_or(name)
}
