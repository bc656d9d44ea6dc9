//! AdaLoRA in the forward pass, its penalty, and the way back into the base.

use ::lora::Dropout;
use model::{Adapter, Context, ModuleId, ParameterId};
use tensor::ops::{self, LoraOperands};
use tensor::{Gradients, Layout, Parameters, Result, Tensor, TensorError, Weight};

use super::{AdaLora, Site};
use crate::method::{Method, SavedTensor};
use crate::{AdapterConfig, PeftError, finite, fold};

impl Adapter for AdaLora {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }

    fn adapts(&self, id: ModuleId) -> bool {
        self.sites[id.index()].as_ref().is_some_and(|site| site.rank() > 0)
    }

    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        context: &Context,
    ) -> Result<Tensor> {
        match self.sites[id.index()].as_ref().filter(|site| site.rank() > 0) {
            None => ops::linear(x, weight, bias),
            Some(site) => {
                let operands = LoraOperands {
                    a: site.lora_a.tensor.clone(),
                    b: site.scaled_b()?,
                    bias: None,
                    scaling: self.scaling(),
                    dropout: dropout(self.config.lora.lora_dropout as f32, id, context)?,
                };
                ops::lora_linear(x, weight, bias, &operands)
            }
        }
    }
}

/// The mask of one module's input in this pass.
fn dropout(probability: f32, id: ModuleId, context: &Context) -> Result<Option<Dropout>> {
    let Some(key) = context.dropout.filter(|_| probability > 0.0) else { return Ok(None) };
    Dropout::new(probability, key.stream(id)).map(Some).map_err(TensorError::kernel("lora_dropout"))
}

impl Site {
    /// Its number of singular values.
    fn rank(&self) -> usize {
        self.lora_e.tensor.count()
    }

    /// `B diag(E)`: the small factor takes up the singular values, so that the rest is LoRA.
    fn scaled_b(&self) -> Result<Tensor> {
        ops::ia3_scale(&self.lora_b.tensor, &self.lora_e.tensor)
    }
}

impl AdaLora {
    /// `alpha / (init_r + 1e-5)`, as PEFT has it: whatever ranks are distributed, it stays.
    fn scaling(&self) -> f32 {
        let (alpha, rank) = (self.config.lora.lora_alpha as f32, self.config.init_r as f32);
        (if alpha > 0.0 { alpha } else { rank }) / (rank + 1e-5)
    }
}

impl Method for AdaLora {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(AdapterConfig::AdaLora(self.config_as_saved()).to_text(self.fan_in_fan_out))
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved_tensors()
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
            Some(site) if id == module.weight && site.rank() > 0 => {
                for leaf in [&site.lora_a, &site.lora_e, &site.lora_b] {
                    finite::check(&module.path, &leaf.tensor)?;
                }
                let b = tensor::no_grad(|| site.scaled_b())?;
                fold::low_rank(self.scaling(), &site.lora_a.tensor, &b, module.kind, values)
            }
            _ => Ok(()),
        }
    }

    /// `orth_reg_weight` times the mean of `|A A^T - I|_F` and `|B^T B - I|_F` over all modules.
    fn penalty(&self) -> Result<Option<Tensor>> {
        if self.config.orth_reg_weight == 0.0 {
            return Ok(None);
        }
        let sites = || self.sites.iter().flatten().filter(|site| site.rank() > 0);
        let mut sum: Option<Tensor> = None;
        for site in sites() {
            let a = ops::orthogonality(&site.lora_a.tensor, Layout::OutIn)?;
            let b = ops::orthogonality(&site.lora_b.tensor, Layout::InOut)?;
            let both = ops::add(&a, &b)?;
            sum = Some(match sum {
                None => both,
                Some(sum) => ops::add(&sum, &both)?,
            });
        }
        let factor = self.config.orth_reg_weight / (2 * sites().count()).max(1) as f64;
        sum.map(|sum| ops::scale(&sum, factor as f32)).transpose()
    }

    fn reads_gradients(&self) -> bool {
        self.allocator.is_some()
    }

    fn after_step(&self, step: u64, gradients: &Gradients, grad_scale: f32) -> Result<(), PeftError> {
        let Some(allocator) = &self.allocator else { return Ok(()) };
        let (parameters, gradients) = (self.parameters.to_host()?, gradients.to_host()?);
        for (index, values) in allocator.after_step(step, &parameters, gradients.flat()?, grad_scale) {
            self.parameters.set(index, &values)?;
        }
        Ok(())
    }

    fn training_state(&self) -> Vec<(String, Vec<f32>)> {
        self.allocator.as_ref().map_or_else(Vec::new, |allocator| allocator.state(&self.parameters))
    }

    fn set_training_state(&self, state: &[Vec<f32>]) {
        self.allocator.iter().for_each(|allocator| allocator.set_state(state));
    }
}
