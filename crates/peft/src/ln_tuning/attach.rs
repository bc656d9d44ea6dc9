//! Making the trainable norms of a model.

use checkpoint::SafetensorsFile;
use model::{Base, Modules};
use tensor::{Shape, Tensor};

use super::{LnTuning, LnTuningConfig, ln_tuning_modules};
use crate::declare::Declarations;
use crate::load::fit;
use crate::method::SavedTensor;
use crate::stand_ins::DeclaredStandIns;
use crate::targets::{Candidate, Selection};
use crate::{ModuleNames, PeftError, Warnings, base_copies, load, modules_to_save, names};

/// Declared parameters, and what each is for.
struct Skeleton {
    /// With `target_modules` as they are saved.
    config: LnTuningConfig,
    declarations: Declarations,
    stand_ins: DeclaredStandIns,
    saved: Vec<SavedTensor>,
    warnings: Warnings,
}

impl Skeleton {
    fn new(mut config: LnTuningConfig, model_type: &str, modules: &Modules) -> Result<Self, PeftError> {
        let no_default = || PeftError::NoDefaultTargets { model_type: model_type.to_owned() };
        let default = || ln_tuning_modules(model_type).map(ModuleNames::of);
        let target_modules = config.target_modules.take().or_else(default).ok_or_else(no_default)?;
        let selection = Selection {
            target_modules: &target_modules,
            exclude_modules: config.exclude_modules.as_ref(),
            modules_to_save: config.modules_to_save.as_deref().unwrap_or_default(),
            layers_to_transform: None,
            layers_pattern: None,
        };
        let candidates: Vec<Candidate<'_>> = modules.iter().map(Candidate::of).collect();
        let targets = selection.resolve(&candidates)?;
        let kept = modules_to_save::parameters(selection.modules_to_save, modules)?;
        let (mut declarations, mut saved) = (Declarations::default(), Vec::new());
        let mut stand_ins = DeclaredStandIns::plain(&kept, modules, &mut declarations, &mut saved);
        for module in modules.iter().filter(|module| targets.matched.contains(&module.path)) {
            for (id, suffix) in [(Some(module.weight), "weight"), (module.bias, "bias")] {
                let Some(id) = id else { continue };
                let name = names::key(&module.path, &format!("ln_tuning_layers.{suffix}"));
                stand_ins.add(modules.parameter(id), name, &mut declarations, &mut saved);
            }
        }
        let warnings = targets.warnings();
        config.target_modules = Some(targets.target_modules.sorted());
        Ok(Self { config, declarations, stand_ins, saved, warnings })
    }
}

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`LnTuning::new`].
pub fn trainable(
    config: &LnTuningConfig,
    model_type: &str,
    modules: &Modules,
) -> Result<Vec<(String, Shape)>, PeftError> {
    let skeleton = Skeleton::new(config.clone(), model_type, modules)?;
    Ok(skeleton.declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl LnTuning {
    /// A new adapter of `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::NoTargets`], [`PeftError::NoDefaultTargets`], [`PeftError::NoModuleToSave`], [`PeftError::Pattern`],
    /// [`PeftError::Tensor`].
    pub fn new(config: LnTuningConfig, base: &Base) -> Result<(Self, Warnings), PeftError> {
        Self::attach(Skeleton::new(config, base.dimensions().model_type, base.modules())?, base)
    }

    /// The adapter that was saved with `config` in `file`.
    ///
    /// # Errors
    /// As [`LnTuning::new`], and those of [`load()`](crate::load()).
    pub fn load(config: LnTuningConfig, base: &Base, file: &SafetensorsFile) -> Result<(Self, Warnings), PeftError> {
        let mut skeleton = Skeleton::new(config, base.dimensions().model_type, base.modules())?;
        base_copies::add(names::PREFIX, base, file, &mut skeleton.saved)?;
        fit(&skeleton.saved, &skeleton.declarations.sizes(), file)?;
        let (method, warnings) = Self::attach(skeleton, base)?;
        load(&method, file)?;
        Ok((method, warnings))
    }

    fn attach(skeleton: Skeleton, base: &Base) -> Result<(Self, Warnings), PeftError> {
        let Skeleton { config, declarations, stand_ins, saved, warnings } = skeleton;
        // Nothing is drawn: everything starts as the base's own.
        let parameters = declarations.build(base, 0)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let method =
            Self { config, modules: base.modules().clone(), stand_ins: stand_ins.with(&leaves), saved, parameters };
        Ok((method, warnings))
    }
}
