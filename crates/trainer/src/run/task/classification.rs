//! `SEQ_CLS` and `TOKEN_CLS`: the class of a sequence, or of each of its tokens. A sequence with a single label has no class
//! but a number, as in transformers: its loss is the squared error.

use data::{Batch, Task as DataTask};
use model::{Base, Classifier, Pass};
use tensor::{LossSum, Tensor, no_grad, ops};

use super::{Logits, Task};
use crate::Error;
use crate::run::plan::{Activations, Keeping, Trained, block_activations};
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

    /// Whether a number is predicted.
    fn is_regression(&self, batch: &Batch) -> bool {
        batch.task == DataTask::SequenceClassification && self.num_labels == 1
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
        let scores = self.scores(batch, pass)?;
        match self.is_regression(batch) {
            true => Ok(ops::squared_error(&scores, &batch.values)?),
            false => Ok(ops::cross_entropy(&scores, &batch.labels, None)?),
        }
    }

    fn evaluate(&self, batch: &Batch, pass: &Pass) -> Result<LossSum, Error> {
        let scores = no_grad(|| self.scores(batch, pass))?;
        if self.is_regression(batch) {
            let loss = f64::from(no_grad(|| ops::squared_error(&scores, &batch.values))?.item()?);
            return Ok(LossSum { loss, num_supervised: batch.num_targets, num_correct: 0 });
        }
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

    fn activations(&self, trained: &Trained, tokens: usize, keeping: Keeping) -> Activations {
        let num_layers = self.base().dimensions().num_layers;
        block_activations(&self.model.block(), num_layers, self.base().modules(), trained, tokens, keeping)
    }
}
