//! Steps by themselves, without a log, checkpoints and a schedule: what is planned and measured.

use std::sync::Arc;

use data::Batch;
use device::launch::Executor;
use device::{Device, pool};
use peft::Method;
use tensor::Gradients;

use super::base_model::BaseModel;
use super::learner::{Learner, Losses};
use super::method;
use super::optimizer::Optimizer;
use crate::Error;
use crate::config::{Config, Training};

/// What takes the steps of a run on the device of its base.
pub struct Steps<'a> {
    base: &'a BaseModel,
    training: &'a Training,
    method: Arc<dyn Method>,
    optimizer: Optimizer,
    gradients: Gradients,
}

impl<'a> Steps<'a> {
    /// For the method of `config` on `base`.
    ///
    /// # Errors
    /// A method that does not fit the base; no memory.
    pub fn new(config: &'a Config, base: &'a BaseModel) -> Result<Self, Error> {
        let (method, _) = method::build(config, base)?;
        let optimizer = Optimizer::new(method.parameters(), &config.training, base.task.base().modules())?;
        let gradients = Gradients::new(method.parameters().tensors())?;
        Ok(Self { base, training: &config.training, method, optimizer, gradients })
    }

    /// Takes the next step with `batches`. Nothing waits for a device.
    ///
    /// # Errors
    /// Those of the model and of its device.
    pub fn take(&mut self, batches: &[Batch]) -> Result<Losses, Error> {
        let Self { base, training, method, optimizer, gradients } = self;
        let learner = Learner { task: base.task.as_ref(), method, training };
        let losses = learner.step(optimizer, batches, training.learning_rate, gradients)?;
        match method.parameters().device() {
            Device::Cpu => pool::advance(),
            device => Executor::for_device(device)?.advance(),
        }
        Ok(losses)
    }

    /// The loss of the step that was taken last. Waits for the device.
    ///
    /// # Errors
    /// A device that fails.
    pub fn loss(&self, losses: &Losses) -> Result<f32, Error> {
        losses.loss(self.optimizer.outcome()?.loss)
    }

    /// What is trained.
    pub fn method(&self) -> &Arc<dyn Method> {
        &self.method
    }
}
