//! LoRA in the forward pass.

use std::sync::Arc;

use ::lora::Dropout;
use model::{Adapter, Context, ModuleId, ParameterId, Projection};
use tensor::ops::{self, EmbeddingOptions, LoraOperands, LoraProjection};
use tensor::{Layout, Parameters, Result, Tensor, TensorError, Weight};

use super::{Lora, LoraConfig, Site};
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError};

impl Adapter for Lora {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.trained.get(id)
    }

    fn adapts(&self, id: ModuleId) -> bool {
        self.sites[id.index()].is_some() || self.rows.adapts(id)
    }

    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        context: &Context,
    ) -> Result<Tensor> {
        let Some(site) = &self.sites[id.index()] else {
            return match self.rows.logits(id, x, weight)? {
                Some(logits) => Ok(logits),
                None => ops::linear(x, weight, bias),
            };
        };
        let operands = self.operands(id, site, context)?;
        if let Some(part) = &site.base_part {
            return part.linear(x, weight, bias, site, operands.dropout);
        }
        match &site.dora {
            None => ops::lora_linear(x, weight, bias, &operands),
            Some(dora) => dora.linear(x, weight, bias, operands, &self.parameters),
        }
    }

    /// In one pass, where all of them are the base's and an update.
    fn linears(&self, projections: &[Projection<'_>], x: &Tensor, context: &Context) -> Result<Vec<Tensor>> {
        let is_update = |site: &&Site| site.dora.is_none() && site.base_part.is_none();
        let site = |one: &Projection<'_>| self.sites[one.id.index()].as_ref().filter(is_update);
        let Some(sites) = projections.iter().map(site).collect::<Option<Vec<_>>>() else {
            return model::one_by_one(self, projections, x, context);
        };
        let operands = projections.iter().zip(sites).map(|(one, site)| self.operands(one.id, site, context));
        let operands = operands.collect::<Result<Vec<_>>>()?;
        let together = projections.iter().zip(&operands);
        let together = together.map(|(one, adapter)| LoraProjection { weight: &one.weight, bias: one.bias, adapter });
        ops::lora_linears(x, &together.collect::<Vec<_>>())
    }

    /// `table[ids] + s A[ids] B^T`, all of it times the embedding's scale, and brought to DoRA's norms. Nothing is dropped: a token has no elements to drop.
    fn embedding(
        &self,
        id: ModuleId,
        ids: &Arc<[u32]>,
        table: &Tensor,
        options: EmbeddingOptions,
        _context: &Context,
    ) -> Result<Tensor> {
        let rows = self.rows.embedding(id, ids, table, options)?;
        let Some(site) = &self.sites[id.index()] else { return Ok(rows) };
        let scale = site.scaling * options.scale.unwrap_or(1.0);
        let low = ops::embedding(ids, &site.lora_a, EmbeddingOptions { scale: Some(scale), ..options })?; // [num_tokens, r]
        let update = ops::linear(&low, &Weight::dense(site.lora_b.clone(), Layout::OutIn)?, None)?;
        let rows = ops::add(&rows, &update)?;
        match &site.dora {
            None => Ok(rows),
            Some(dora) => dora.embedding(&rows, table, site, &self.parameters),
        }
    }
}

impl Lora {
    /// What is added to a module in this pass.
    fn operands(&self, id: ModuleId, site: &Site, context: &Context) -> Result<LoraOperands> {
        Ok(LoraOperands {
            a: site.lora_a.clone(),
            b: site.lora_b.clone(),
            bias: site.lora_bias.clone(),
            scaling: site.scaling,
            dropout: dropout(&self.config, id, context)?,
        })
    }
}

/// The mask of one module's input in this pass.
fn dropout(config: &LoraConfig, id: ModuleId, context: &Context) -> Result<Option<Dropout>> {
    let probability = config.lora_dropout as f32;
    let Some(key) = context.dropout.filter(|_| probability > 0.0) else { return Ok(None) };
    Dropout::new(probability, key.stream(id)).map(Some).map_err(TensorError::kernel("lora_dropout"))
}

impl Method for Lora {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        let config = self.saved_config.as_ref().unwrap_or(&self.config);
        Some(AdapterConfig::Lora(config.clone()).to_text(self.fan_in_fan_out))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn merges(&self, id: ParameterId) -> bool {
        self.merges_parameter(id)
    }

    fn merge(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        self.merge_parameter(id, values)
    }

    fn keeps_tie(&self, id: ParameterId, original: ParameterId) -> bool {
        self.rows.keeps_tie(id, original, &self.modules)
    }
}
