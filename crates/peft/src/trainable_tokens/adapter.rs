//! Trainable tokens in the forward pass, and the way back into the base.

use std::sync::Arc;

use model::{Adapter, Context, ModuleId, ParameterId};
use tensor::ops::{self, EmbeddingOptions};
use tensor::{Parameters, Result, Tensor, Weight};

use super::TrainableTokens;
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError};

impl Adapter for TrainableTokens {
    fn adapts(&self, id: ModuleId) -> bool {
        self.rows.adapts(id)
    }

    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        _context: &Context,
    ) -> Result<Tensor> {
        match self.rows.logits(id, x, weight)? {
            Some(logits) => Ok(logits),
            None => ops::linear(x, weight, bias),
        }
    }

    fn embedding(
        &self,
        id: ModuleId,
        ids: &Arc<[u32]>,
        table: &Tensor,
        options: EmbeddingOptions,
        _context: &Context,
    ) -> Result<Tensor> {
        self.rows.embedding(id, ids, table, options)
    }
}

impl Method for TrainableTokens {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::TrainableTokens(self.config.clone()).to_text(false))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn merges(&self, id: ParameterId) -> bool {
        self.rows.merges(self.modules.parameter(id), &self.modules)
    }

    fn merge(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        self.rows.merge(self.modules.parameter(id), &self.modules, values)
    }

    fn keeps_tie(&self, id: ParameterId, original: ParameterId) -> bool {
        self.rows.keeps_tie(id, original, &self.modules)
    }
}
