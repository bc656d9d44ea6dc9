//! (IA)^3 in the forward pass.

use model::{Adapter, Context, ModuleId, ParameterId};
use tensor::{Parameters, Result, Tensor, Weight, ops};

use super::{Ia3, Scales};
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError};

impl Adapter for Ia3 {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }

    fn adapts(&self, id: ModuleId) -> bool {
        self.sites[id.index()].is_some()
    }

    fn input_scale(&self, id: ModuleId) -> Option<&Tensor> {
        self.sites[id.index()].as_ref().filter(|site| site.scales == Scales::Inputs).map(|site| &site.ia3_l)
    }

    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        _context: &Context,
    ) -> Result<Tensor> {
        match self.sites[id.index()].as_ref().filter(|site| site.scales == Scales::Outputs) {
            Some(site) => ops::linear_scaled(x, weight, bias, &site.ia3_l),
            None => ops::linear(x, weight, bias),
        }
    }
}

impl Method for Ia3 {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::Ia3(self.config.clone()).to_text(self.fan_in_fan_out))
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
}
