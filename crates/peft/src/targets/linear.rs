//! Selections of which only linear modules may be meant.

use model::{Module, ModuleId, ModuleKind, Modules};
use tensor::Layout;

use super::{Candidate, Selection, kind_of};
use crate::{ModuleNames, PeftError, Warnings};

/// Linear modules that a method adapts.
pub(crate) struct LinearTargets {
    /// In model order, with `[in, out]`.
    pub(crate) sites: Vec<(ModuleId, [usize; 2])>,
    /// Whether their weights are stored `[in, out]`.
    pub(crate) fan_in_fan_out: bool,
    /// `target_modules` as they are saved.
    pub(crate) target_modules: ModuleNames,
    /// What was configured and means nothing.
    pub(crate) warnings: Warnings,
}

impl Selection<'_> {
    /// The modules of a model that are meant.
    ///
    /// # Errors
    /// [`PeftError::UnsupportedTarget`] for one that is not linear, and those of [`Selection::resolve`].
    pub(crate) fn linear(&self, modules: &Modules) -> Result<LinearTargets, PeftError> {
        let candidates: Vec<Candidate<'_>> = modules.iter().map(Candidate::of).collect();
        let targets = self.resolve(&candidates)?;
        let (mut sites, mut fan_in_fan_out) = (Vec::new(), false);
        for module in modules.iter().filter(|module| targets.matched.contains(&module.path)) {
            let (size, layout) = linear(module)?;
            fan_in_fan_out |= layout == Layout::InOut;
            sites.push((module.id, size));
        }
        let (warnings, target_modules) = (targets.warnings(), targets.target_modules.sorted());
        Ok(LinearTargets { sites, fan_in_fan_out, target_modules, warnings })
    }
}

fn linear(module: &Module) -> Result<([usize; 2], Layout), PeftError> {
    match module.kind {
        ModuleKind::Linear { in_features, out_features, layout } => Ok(([in_features, out_features], layout)),
        _ => {
            let (module, kind) = (module.path.clone(), kind_of(module));
            Err(PeftError::UnsupportedTarget { module, kind, adaptable: "linear modules" })
        }
    }
}
