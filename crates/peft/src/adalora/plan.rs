//! What a configuration means in a model: which modules are adapted, and how many singular values each has.

use model::{Modules, ParameterId};

use super::{AdaLoraConfig, adalora_modules};
use crate::targets::{LinearTargets, Selection};
use crate::{ModuleNames, PeftError, modules_to_save};

/// A configuration applied to a model's modules.
pub(super) struct Plan {
    /// With `target_modules` as they are saved.
    pub(super) config: AdaLoraConfig,
    /// The adapted modules.
    pub(super) targets: LinearTargets,
    /// Their numbers of singular values.
    pub(super) ranks: Vec<usize>,
    /// Parameters of the base that are trained as they are, in model order.
    pub(super) trained: Vec<ParameterId>,
}

impl Plan {
    pub(super) fn new(mut config: AdaLoraConfig, model_type: &str, modules: &Modules) -> Result<Self, PeftError> {
        config.check().map_err(|(key, reason)| PeftError::Setting { key, reason })?;
        let no_default = || PeftError::NoDefaultTargets { model_type: model_type.to_owned() };
        let default = || adalora_modules(model_type).map(ModuleNames::of);
        let target_modules = config.lora.target_modules.take().or_else(default).ok_or_else(no_default)?;
        let selection = Selection {
            target_modules: &target_modules,
            exclude_modules: config.lora.exclude_modules.as_ref(),
            modules_to_save: config.lora.modules_to_save.as_deref().unwrap_or_default(),
            layers_to_transform: config.lora.layers_to_transform.as_ref(),
            layers_pattern: config.lora.layers_pattern.as_ref(),
        };
        let targets = selection.linear(modules)?;
        let adapted = targets.sites.iter().map(|(id, _)| *id).collect();
        let trained = modules_to_save::with_biases(selection.modules_to_save, config.lora.bias, modules, &adapted)?;
        let rank = |path: &str| {
            let name = super::pattern_key(path);
            let kept = config.rank_pattern.iter().flatten().find(|(key, _)| *key == name);
            kept.map_or(config.init_r, |(_, kept)| kept.iter().filter(|kept| **kept).count())
        };
        let ranks = targets.sites.iter().map(|(id, _)| rank(&modules.get(*id).path)).collect();
        config.lora.target_modules = Some(targets.target_modules.clone());
        Ok(Self { config, targets, ranks, trained })
    }
}
