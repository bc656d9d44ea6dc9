//! What a configuration means in a model: which modules are scaled, and on which side.

use model::{Module, ModuleId, ModuleKind, Modules, ParameterId};
use tensor::Layout;

use super::default_modules::ia3_modules;
use super::{Ia3Config, Scales};
use crate::targets::{Candidate, Selection, ends_with_any, kind_of};
use crate::{ModuleNames, PeftError, Warnings, modules_to_save};

/// A configuration applied to a model's modules.
pub(super) struct Plan {
    /// With `target_modules` and `feedforward_modules` as they are saved.
    pub(super) config: Ia3Config,
    /// The scaled modules in model order.
    pub(super) sites: Vec<(ModuleId, Scales)>,
    /// Parameters of the base that are trained as they are.
    pub(super) trained: Vec<ParameterId>,
    /// Whether scaled weights are stored `[in, out]`.
    pub(super) fan_in_fan_out: bool,
    /// What was configured and means nothing.
    pub(super) warnings: Warnings,
}

impl Plan {
    pub(super) fn new(mut config: Ia3Config, model_type: &str, modules: &Modules) -> Result<Self, PeftError> {
        config.check().map_err(|(key, reason)| PeftError::Setting { key, reason })?;
        let defaults = ia3_modules(model_type).map(|lists| lists.map(ModuleNames::of));
        let [targets, feedforward] = defaults.map_or([None, None], |lists| lists.map(Some));
        let no_default = || PeftError::NoDefaultTargets { model_type: model_type.to_owned() };
        let target_modules = config.target_modules.take().or(targets).ok_or_else(no_default)?;
        let feedforward = config.feedforward_modules.take().or(feedforward).ok_or_else(|| PeftError::Setting {
            key: "feedforward_modules",
            reason: format!("there is no default for model_type {model_type:?}; name the modules, or [] for none"),
        })?;
        let selection = Selection {
            target_modules: &target_modules,
            exclude_modules: config.exclude_modules.as_ref(),
            modules_to_save: config.modules_to_save.as_deref().unwrap_or_default(),
            layers_to_transform: None,
            layers_pattern: None,
        };
        let candidates: Vec<Candidate<'_>> = modules.iter().map(Candidate::of).collect();
        let targets = selection.resolve(&candidates)?;
        let mut sites = Vec::new();
        let mut fan_in_fan_out = false;
        for module in modules.iter().filter(|module| targets.matched.contains(&module.path)) {
            fan_in_fan_out |= layout(module)? == Layout::InOut;
            let older = module.older_path.as_deref().filter(|_| targets.by_older_names);
            sites.push((module.id, scales(older.unwrap_or(&module.path), &feedforward)?));
        }
        let feedforward = if targets.by_older_names { scaled_inputs(&sites, modules) } else { feedforward };
        let trained = modules_to_save::parameters(selection.modules_to_save, modules)?;
        let warnings = targets.warnings();
        config.target_modules = Some(targets.target_modules.sorted());
        config.feedforward_modules = Some(as_saved(&feedforward.sorted(), &targets.target_modules));
        Ok(Self { config, sites, trained, fan_in_fan_out, warnings })
    }
}

/// `feedforward_modules` as a file that PEFT reads again can hold them: it refuses a list with a name that is not among the
/// targets, which its own defaults may come to. A pattern with the same meaning it takes.
fn as_saved(feedforward: &ModuleNames, targets: &ModuleNames) -> ModuleNames {
    match (feedforward, targets) {
        (ModuleNames::List(ends), ModuleNames::List(targets)) if ends.iter().any(|end| !targets.contains(end)) => {
            let ends: Vec<_> = ends.iter().map(|end| end.replace('.', r"\.")).collect();
            ModuleNames::Pattern(format!(".*({})", ends.join("|")))
        }
        _ => feedforward.clone(),
    }
}

/// How the weight of a scaled module lies in memory.
fn layout(module: &Module) -> Result<Layout, PeftError> {
    let ModuleKind::Linear { layout, .. } = module.kind else {
        let (module, kind) = (module.path.clone(), kind_of(module));
        return Err(PeftError::UnsupportedTarget { module, kind, adaptable: "linear modules" });
    };
    Ok(layout)
}

/// PEFT compares the end of a name with each of a list's, without looking for a dot before it.
fn scales(path: &str, feedforward: &ModuleNames) -> Result<Scales, PeftError> {
    Ok(if ends_with_any("feedforward_modules", feedforward, path)? { Scales::Inputs } else { Scales::Outputs })
}

/// The names of the modules whose inputs are scaled.
fn scaled_inputs(sites: &[(ModuleId, Scales)], modules: &Modules) -> ModuleNames {
    let inputs = sites.iter().filter(|(_, scales)| *scales == Scales::Inputs);
    ModuleNames::List(inputs.map(|(id, _)| modules.get(*id).path.clone()).collect())
}
