//! A norm over the last dimension.

use tensor::{Result, Tensor, ops};

use super::Scope;
use crate::ParameterId;
use crate::config::{NormConfig, NormKind};
use crate::module::{ModuleKind, Modules};

/// A norm module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    weight: ParameterId,
    bias: Option<ParameterId>,
    config: NormConfig,
}

impl Norm {
    /// Adds the module to the list.
    pub(crate) fn declare(
        modules: &mut Modules,
        path: String,
        layer: Option<usize>,
        size: usize,
        config: NormConfig,
    ) -> Self {
        let bias = (config.kind == NormKind::Layer).then_some(size);
        let module = modules.add(path, layer, ModuleKind::Norm { size }, vec![size], bias);
        Self { weight: module.weight, bias: module.bias, config }
    }

    /// `x`: `[rows, size]`, returned in the same shape.
    pub(crate) fn forward(&self, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        let weight = scope.parameter(self.weight);
        match self.config.kind {
            NormKind::Rms { unit_offset } => ops::rms_norm(x, weight, self.config.eps, unit_offset),
            NormKind::Layer => ops::layer_norm(x, weight, self.bias.map(|id| scope.parameter(id)), self.config.eps),
        }
    }
}
