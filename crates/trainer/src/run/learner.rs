//! The gradient of one step: a base with its method over the micro-batches of the step.

use std::sync::Arc;

use data::Batch;
use model::{Dropout, Pass};
use peft::Method;
use tensor::{Gradients, backward};

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

impl Learner<'_> {
    /// The mean loss over the supervised tokens of all micro-batches and the method's penalty; the gradient is in `gradients`.
    ///
    /// # Errors
    /// Those of the model and of its device.
    pub fn forward_backward(&self, step: u64, batches: &[Batch], gradients: &mut Gradients) -> Result<f32, Error> {
        gradients.zero()?;
        let targets = |batch: &Batch| batch.num_targets_after(self.method.prompt_len());
        let supervised = batches.iter().map(targets).sum::<usize>().max(1);
        let mut loss_sum = 0.0;
        // A micro-batch with nothing to predict adds nothing.
        for (index, batch) in batches.iter().enumerate().filter(|(_, batch)| targets(batch) > 0) {
            let pass = self.pass(step, index);
            let loss = self.task.loss(batch, &pass)?;
            loss_sum += f64::from(loss.item()?);
            backward(&loss, 1.0 / supervised as f32, gradients)?;
        }
        let mut loss = (loss_sum / supervised as f64) as f32;
        if let Some(penalty) = self.method.penalty()? {
            loss += penalty.item()?;
            backward(&penalty, 1.0, gradients)?;
        }
        Ok(loss)
    }

    /// Micro-batch `index` of step `step`: every pass of the run has dropout masks of its own.
    fn pass(&self, step: u64, index: usize) -> Pass {
        let passes = (step - 1) * self.training.gradient_accumulation_steps as u64 + index as u64;
        Pass {
            adapter: Arc::clone(self.method) as Arc<dyn model::Adapter>,
            dropout: Some(Dropout { seed: self.training.seed, step: passes as u32 }),
            gradient_checkpointing: self.training.gradient_checkpointing,
        }
    }
}
