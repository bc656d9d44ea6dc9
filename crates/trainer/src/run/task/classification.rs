//! `SEQ_CLS` and `TOKEN_CLS`: the class of a sequence, or of each of its tokens.

use data::{Batch, Task as DataTask};
use model::{Base, Classifier, Pass};
use tensor::{LossSum, Tensor, no_grad, ops};

use super::{Logits, Task};
use crate::Error;
use crate::run::plan::{Activations, Trained, block_activations};
use crate::run::rows::input;

/// A model that scores classes.
pub struct Classification {
    model: Classifier,
    num_labels: usize,
}

impl Classification {
    /// The task of `model`, whose head has `num_labels` classes.
    pub fn new(model: Classifier, num_labels: usize) -> Self {
        Self { model, num_labels }
    }

    /// `[rows, num_labels]`: a row for each label of the batch.
    fn scores(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        Ok(self.model.logits(&input(batch)?, pass)?)
    }
}

impl Task for Classification {
    fn base(&self) -> &Base {
        self.model.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.model.base_mut()
    }

    fn loss(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        Ok(ops::cross_entropy(&self.scores(batch, pass)?, &batch.labels, None)?)
    }

    fn evaluate(&self, batch: &Batch, pass: &Pass) -> Result<LossSum, Error> {
        let scores = no_grad(|| self.scores(batch, pass))?;
        Ok(ops::cross_entropy_statistics(&scores, &batch.labels, None)?)
    }

    /// `[batch, num_labels]`; of tokens `[batch, seq, num_labels]`.
    fn logits(&self, batch: &Batch, pass: &Pass) -> Result<Logits, Error> {
        let values = no_grad(|| self.scores(batch, pass))?.to_vec();
        Ok(match batch.task {
            DataTask::TokenClassification => Logits::padded(&values, &batch.cu_seqlens, self.num_labels),
            _ => Logits { shape: vec![batch.num_sequences(), self.num_labels], values },
        })
    }

    fn activations(&self, trained: &Trained, tokens: usize, gradient_checkpointing: bool) -> Activations {
        let num_layers = self.base().dimensions().num_layers;
        block_activations(
            &self.model.block(),
            num_layers,
            self.base().modules(),
            trained,
            tokens,
            gradient_checkpointing,
        )
    }
}
