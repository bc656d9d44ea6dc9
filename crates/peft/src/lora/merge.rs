//! Folding the update into the base: `W + s B A`, computed in f32; with DoRA its rows brought to their norms.

use model::{ModuleKind, ParameterId};

use super::Lora;
use crate::{PeftError, finite, fold};

impl Lora {
    pub(super) fn merges_parameter(&self, id: ParameterId) -> bool {
        let parameter = self.modules.parameter(id);
        let module = self.modules.get(parameter.module);
        let updated =
            self.sites[module.id.index()].as_ref().is_some_and(|site| id == module.weight || site.lora_bias.is_some());
        updated || self.trained.get(id).is_some() || self.rows.merges(parameter, &self.modules)
    }

    pub(super) fn merge_parameter(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        let parameter = self.modules.parameter(id);
        let module = self.modules.get(parameter.module);
        self.trained.merge(parameter, values)?;
        self.rows.merge(parameter, &self.modules, values)?;
        let Some(site) = &self.sites[module.id.index()] else { return Ok(()) };
        finite::check(&module.path, &site.lora_a)?;
        finite::check(&module.path, &site.lora_b)?;
        if site.lora_bias.is_some() && module.bias.is_none() {
            let reason = "its adapter has a bias (lora_bias) and the base model has none to add it to";
            return Err(PeftError::Unmergeable { module: module.path.clone(), reason });
        }
        if id == module.weight {
            fold::low_rank(site.scaling, &site.lora_a, &site.lora_b, module.kind, values)?;
            if let (Some(part), ModuleKind::Linear { layout, .. }) = (&site.base_part, module.kind) {
                part.merge(site, layout, values)?;
            }
            site.dora.as_ref().map_or(Ok(()), |dora| dora.merge(module, values))
        } else {
            if let Some(bias) = &site.lora_bias {
                finite::check(&parameter.name, bias)?;
                values.iter_mut().zip(bias.to_vec()).for_each(|(value, bias)| *value += site.scaling * bias);
            }
            Ok(())
        }
    }
}
