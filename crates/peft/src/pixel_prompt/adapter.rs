//! A pixel prompt in the forward pass, and its files.

use std::sync::Arc;

use model::{Adapter, ParameterId};
use tensor::{Parameters, Result, Sequences, Tensor, ops};

use super::PixelPrompt;
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError};

impl Adapter for PixelPrompt {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }

    fn pixels(&self) -> Result<Option<Tensor>> {
        // A zero for the pixels that nothing is added to, then the values of all parts.
        let mut values = self.zero.clone();
        for part in &self.parts {
            values = joined(&values, &ops::reshape(part, [part.count(), 1])?)?;
        }
        Ok(Some(ops::reshape(&ops::select_rows(&values, &self.places)?, self.image)?))
    }
}

/// The rows of `first`, then those of `second`.
fn joined(first: &Tensor, second: &Tensor) -> Result<Tensor> {
    let rows = second.shape()[0] as u32;
    ops::prepend(first, second, &Arc::new(Sequences::packed(&[0, rows])?))
}

impl Method for PixelPrompt {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::PixelPrompt(self.config.clone()).to_text(false))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn merges(&self, _id: ParameterId) -> bool {
        true
    }

    fn merge(&self, id: ParameterId, _values: &mut [f32]) -> std::result::Result<(), PeftError> {
        let reason = "pixels of the images are changed, which no weight does; those of lora, ia3 and other methods that change weights can be merged";
        Err(PeftError::Unmergeable { module: self.modules.parameter(id).name.clone(), reason })
    }
}
