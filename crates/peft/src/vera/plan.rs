//! What a configuration means in a model: which modules are adapted, and how large A and B have to be.

use model::{Modules, ParameterId};

use super::VeraConfig;
use crate::targets::{LinearTargets, Selection};
use crate::{ModuleNames, PeftError, lora_target_modules, modules_to_save};

/// A configuration applied to a model's modules.
pub(super) struct Plan {
    /// With `target_modules` as they are saved.
    pub(super) config: VeraConfig,
    /// The adapted modules.
    pub(super) targets: LinearTargets,
    /// Parameters of the base that are trained as they are, in model order.
    pub(super) trained: Vec<ParameterId>,
}

impl Plan {
    pub(super) fn new(mut config: VeraConfig, model_type: &str, modules: &Modules) -> Result<Self, PeftError> {
        config.check().map_err(|(key, reason)| PeftError::Setting { key, reason })?;
        let no_default = || PeftError::NoDefaultTargets { model_type: model_type.to_owned() };
        let target_modules =
            config.target_modules.take().or_else(|| default_modules(model_type)).ok_or_else(no_default)?;
        let selection = Selection {
            target_modules: &target_modules,
            exclude_modules: None,
            modules_to_save: config.modules_to_save.as_deref().unwrap_or_default(),
            layers_to_transform: config.layers_to_transform.as_ref(),
            layers_pattern: config.layers_pattern.as_ref(),
        };
        let targets = selection.linear(modules)?;
        let adapted = targets.sites.iter().map(|(id, _)| *id).collect();
        let trained = modules_to_save::with_biases(selection.modules_to_save, config.bias, modules, &adapted)?;
        config.target_modules = Some(targets.target_modules.clone());
        Ok(Self { config, targets, trained })
    }

    /// The largest `[in, out]`.
    pub(super) fn size(&self) -> [usize; 2] {
        let largest = |[a, b]: [usize; 2], (_, [c, d]): &(_, [usize; 2])| [a.max(*c), b.max(*d)];
        self.targets.sites.iter().fold([0, 0], largest)
    }
}

/// PEFT's default is that of LoRA, but for Phi.
fn default_modules(model_type: &str) -> Option<ModuleNames> {
    match model_type {
        "phi" => Some(ModuleNames::of(&["q_proj", "v_proj"])),
        _ => lora_target_modules(model_type).map(ModuleNames::of),
    }
}
