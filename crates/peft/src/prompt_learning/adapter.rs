//! Virtual tokens in the forward pass, and their files.

use model::{Adapter, ParameterId};
use tensor::{Parameters, Result, Tensor, ops};

use super::plan::Place;
use super::{PromptLearning, PromptMethod};
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError};

impl Adapter for PromptLearning {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }

    fn prompt(&self) -> Result<Option<Tensor>> {
        match self.place {
            Place::Prompt { num_virtual_tokens, rows, .. } => {
                let embeddings = self.encoder.forward()?;
                match num_virtual_tokens == rows {
                    true => Ok(Some(embeddings)),
                    false => ops::slice_rows(&embeddings, 0..num_virtual_tokens).map(Some),
                }
            }
            Place::Prefix { .. } => Ok(None),
        }
    }

    fn prompt_len(&self) -> usize {
        match self.place {
            Place::Prompt { num_virtual_tokens, .. } => num_virtual_tokens,
            Place::Prefix { .. } => 0,
        }
    }

    fn prefix(&self, layer: usize) -> Result<Option<(Tensor, Tensor)>> {
        let Place::Prefix { slots, token_dim, submodules, .. } = self.place else { return Ok(None) };
        let slot = |slot: usize| {
            let start = slot % slots * token_dim;
            self.encoder.columns(start..start + token_dim)
        };
        let first = 2 * submodules * layer;
        Ok(Some((slot(first)?, slot(first + 1)?)))
    }

    fn position_offset(&self) -> u32 {
        self.place.num_virtual_tokens() as u32
    }
}

impl Method for PromptLearning {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::PromptLearning(self.config.clone()).to_text(false))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn encoder_state(&self) -> Vec<SavedTensor> {
        self.encoder_state.clone()
    }

    fn merges(&self, _id: ParameterId) -> bool {
        true
    }

    fn merge(&self, id: ParameterId, _values: &mut [f32]) -> Result<(), PeftError> {
        let reason = match self.config.method {
            PromptMethod::PrefixTuning(_) => {
                "a prefix is keys and values, which no weight can make; those of lora, ia3 and other methods that change weights can be merged"
            }
            PromptMethod::PromptTuning(_) | PromptMethod::PTuning(_) => {
                "a prompt is rows of input, which no weight adds; those of lora, ia3 and other methods that change weights can be merged"
            }
        };
        Err(PeftError::Unmergeable { module: self.modules.parameter(id).name.clone(), reason })
    }
}
