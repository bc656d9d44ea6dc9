//! VeRA in the forward pass, and the way back into the base.

use ::lora::Dropout;
use model::{Adapter, Context, ModuleId, ParameterId};
use tensor::{Layout, Parameters, Result, Tensor, TensorError, Weight, ops};

use super::{Site, Vera};
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError, finite, fold};

impl Adapter for Vera {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }

    fn adapts(&self, id: ModuleId) -> bool {
        self.sites[id.index()].is_some()
    }

    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        context: &Context,
    ) -> Result<Tensor> {
        let y = ops::linear(x, weight, bias)?;
        let Some(site) = &self.sites[id.index()] else { return Ok(y) };
        let dropped = match dropout(self.config.vera_dropout as f32, id, context)? {
            Some(dropout) => &ops::dropout(x, dropout)?,
            None => x,
        };
        let scaled = |x: &Tensor, matrix: &Tensor, factors: &Tensor| {
            ops::linear_scaled(x, &Weight::dense(matrix.clone(), Layout::OutIn)?, None, factors)
        };
        let low = scaled(dropped, &site.a, &site.lambda_d)?; // [num_tokens, r]
        ops::add(&y, &scaled(&low, &site.b, &site.lambda_b)?)
    }
}

/// The mask of one module's input in this pass.
fn dropout(probability: f32, id: ModuleId, context: &Context) -> Result<Option<Dropout>> {
    let Some(key) = context.dropout.filter(|_| probability > 0.0) else { return Ok(None) };
    Dropout::new(probability, key.stream(id)).map(Some).map_err(TensorError::kernel("vera_dropout"))
}

impl Method for Vera {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::Vera(self.config.clone()).to_text(self.fan_in_fan_out))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn merges(&self, id: ParameterId) -> bool {
        let module = self.modules.get(self.modules.parameter(id).module);
        (id == module.weight && self.adapts(module.id)) || self.stand_ins.get(id).is_some()
    }

    fn merge(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        let parameter = self.modules.parameter(id);
        self.stand_ins.merge(parameter, values)?;
        let module = self.modules.get(parameter.module);
        match &self.sites[module.id.index()] {
            Some(site) if id == module.weight => {
                finite::check(&module.path, &site.lambda_b)?;
                finite::check(&module.path, &site.lambda_d)?;
                let [a, b] = site.scaled()?;
                fold::low_rank(1.0, &a, &b, module.kind, values)
            }
            _ => Ok(()),
        }
    }
}

impl Site {
    /// `diag(lambda_d) A` and `diag(lambda_b) B`.
    fn scaled(&self) -> Result<[Tensor; 2]> {
        let scaled = |matrix: &Tensor, factors: &Tensor| {
            let (_, columns) = matrix.matrix_shape("vera", "projection")?;
            let mut values = matrix.to_vec();
            let each = values.chunks_exact_mut(columns.max(1)).zip(factors.to_vec());
            each.for_each(|(row, factor)| row.iter_mut().for_each(|value| *value *= factor));
            Tensor::from_f32(matrix.shape(), &values)
        };
        Ok([scaled(&self.a, &self.lambda_d)?, scaled(&self.b, &self.lambda_b)?])
    }
}
