//! One step: the gradient of a base with its method over the micro-batches of the step, and the update.

use std::sync::Arc;

use data::Batch;
use device::Device;
use device::launch::Executor;
use model::{Dropout, Pass};
use peft::Method;
use tensor::{Gradients, Offload, Scalars, Tensor, backward};

use super::optimizer::Optimizer;
use super::task::Task;
use crate::Error;
use crate::config::Training;

/// What learns, and the settings of its passes.
pub struct Learner<'a> {
    /// The frozen base and what it is to learn.
    pub task: &'a dyn Task,
    /// What is trained.
    pub method: &'a Arc<dyn Method>,
    /// The settings.
    pub training: &'a Training,
}

/// The losses of a step, which nobody has waited for.
pub struct Losses {
    /// The sum over the supervised tokens of each micro-batch.
    pub sums: Scalars,
    supervised: usize,
    penalty: Option<Tensor>,
}

impl Losses {
    /// The loss of the step, whose [`Losses::sums`] add up to `sum`: the mean over its supervised tokens and the penalty.
    /// Waits for a device if there is a penalty.
    ///
    /// # Errors
    /// A device that fails.
    pub fn loss(&self, sum: f64) -> Result<f32, Error> {
        let penalty = self.penalty.as_ref().map_or(Ok(0.0), Tensor::item)?;
        Ok((sum / self.supervised as f64) as f32 + penalty)
    }
}

impl Learner<'_> {
    /// Takes the step after those of `optimizer`, whose gradient is left in `gradients`. Does not wait for the device, which is
    /// given its launches in graphs unless the settings say otherwise.
    ///
    /// # Errors
    /// Those of the model and of its device.
    pub fn step(
        &self,
        optimizer: &mut Optimizer,
        batches: &[Batch],
        learning_rate: f64,
        gradients: &mut Gradients,
    ) -> Result<Losses, Error> {
        let parameters = self.method.parameters();
        let mut take = || {
            let losses = self.forward_backward(optimizer.steps() + 1, batches, gradients)?;
            optimizer.clip(gradients, &losses.sums)?;
            optimizer.step(parameters, gradients, learning_rate)?;
            Ok(losses)
        };
        match parameters.device() {
            device if device != Device::Cpu && self.training.cuda_graphs => {
                Executor::for_device(device)?.in_graphs(take)
            }
            _ => take(),
        }
    }

    /// Adds the gradient of a step's loss, the mean over the supervised tokens of all micro-batches and the method's penalty,
    /// up in `gradients`. Does not wait for the device.
    ///
    /// # Errors
    /// Those of the model and of its device.
    fn forward_backward(&self, step: u64, batches: &[Batch], gradients: &mut Gradients) -> Result<Losses, Error> {
        gradients.zero()?;
        let targets = |batch: &Batch| batch.num_targets_after(self.method.prompt_len());
        let supervised = batches.iter().map(targets).sum::<usize>().max(1);
        let mut sums = Scalars::with_capacity(self.method.parameters().device(), batches.len())?;
        // A micro-batch with nothing to predict adds nothing.
        for (index, batch) in batches.iter().enumerate().filter(|(_, batch)| targets(batch) > 0) {
            let pass = self.pass(step, index);
            let loss = self.task.loss(batch, &pass)?;
            sums.push(&loss)?;
            backward(&loss, 1.0 / supervised as f32, gradients)?;
        }
        let penalty = self.method.penalty()?;
        if let Some(penalty) = &penalty {
            backward(penalty, 1.0, gradients)?;
        }
        Ok(Losses { sums, supervised, penalty: penalty.map(|penalty| penalty.detach()) })
    }

    /// Whether what blocks keep waits on the host, which on the CPU it does anyway.
    fn offloads(&self) -> bool {
        self.training.activation_offload && self.method.parameters().device() != Device::Cpu
    }

    /// Micro-batch `index` of step `step`: every pass of the run has dropout masks of its own.
    fn pass(&self, step: u64, index: usize) -> Pass {
        let passes = (step - 1) * self.training.gradient_accumulation_steps as u64 + index as u64;
        Pass {
            adapter: Arc::clone(self.method) as Arc<dyn model::Adapter>,
            dropout: Some(Dropout { seed: self.training.seed, step: passes as u32 }),
            gradient_checkpointing: self.training.gradient_checkpointing,
            offload: self.offloads().then(Offload::default),
        }
    }
}
