//! LN tuning in the forward pass: trained norms stand in for the base's.

use model::{Adapter, ParameterId};
use tensor::{Parameters, Tensor};

use super::LnTuning;
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError};

impl Adapter for LnTuning {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }
}

impl Method for LnTuning {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::LnTuning(self.config.clone()).to_text(false))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn merges(&self, id: ParameterId) -> bool {
        self.stand_ins.get(id).is_some()
    }

    fn merge(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        self.stand_ins.merge(self.modules.parameter(id), values)
    }
}
