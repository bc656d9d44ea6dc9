//! Making the factors for a model.

use checkpoint::SafetensorsFile;
use model::{Base, ModuleKind, Modules};
use tensor::{Shape, Tensor};

use super::plan::Plan;
use super::{Ia3, Ia3Config, Scales, Site};
use crate::declare::{Declarations, Start};
use crate::load::fit;
use crate::method::SavedTensor;
use crate::stand_ins::DeclaredStandIns;
use crate::{PeftError, Warnings, base_copies, load, names};

/// Declared parameters, and what each is for.
struct Skeleton {
    declarations: Declarations,
    /// By the number of the module, the position of its factors and what they scale.
    sites: Vec<Option<(usize, Scales)>>,
    stand_ins: DeclaredStandIns,
    saved: Vec<SavedTensor>,
}

impl Skeleton {
    fn new(plan: &Plan, modules: &Modules) -> Self {
        let (mut declarations, mut saved) = (Declarations::default(), Vec::new());
        let mut sites = vec![None; modules.iter().len()];
        let start = if plan.config.init_ia3_weights { Start::Constant(1.0) } else { Start::Normal(1.0) };
        for &(id, scales) in &plan.sites {
            let module = modules.get(id);
            let ModuleKind::Linear { in_features, out_features, .. } = module.kind else { continue };
            let shape = match scales {
                Scales::Inputs => [1, in_features],
                Scales::Outputs => [out_features, 1],
            };
            let name = names::key(&module.path, "ia3_l");
            let index = declarations.add(name.clone(), &shape, start);
            saved.push(SavedTensor::trained(name, index));
            sites[id.index()] = Some((index, scales));
        }
        let stand_ins = DeclaredStandIns::plain(&plan.trained, modules, &mut declarations, &mut saved);
        Self { declarations, sites, stand_ins, saved }
    }
}

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`Ia3::new`].
pub fn trainable(config: &Ia3Config, model_type: &str, modules: &Modules) -> Result<Vec<(String, Shape)>, PeftError> {
    let plan = Plan::new(config.clone(), model_type, modules)?;
    Ok(Skeleton::new(&plan, modules).declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl Ia3 {
    /// A new adapter of `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], [`PeftError::NoTargets`], [`PeftError::NoDefaultTargets`], [`PeftError::UnsupportedTarget`],
    /// [`PeftError::NoModuleToSave`], [`PeftError::Pattern`], [`PeftError::Tensor`].
    pub fn new(config: Ia3Config, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        let skeleton = Skeleton::new(&plan, base.modules());
        Self::attach(plan, skeleton, base, seed)
    }

    /// The adapter that was saved with `config` in `file`.
    ///
    /// # Errors
    /// As [`Ia3::new`], and those of [`load()`](crate::load()).
    pub fn load(config: Ia3Config, base: &Base, file: &SafetensorsFile) -> Result<(Self, Warnings), PeftError> {
        let plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        let mut skeleton = Skeleton::new(&plan, base.modules());
        base_copies::add(names::PREFIX, base, file, &mut skeleton.saved)?;
        // Before anything is allocated.
        fit(&skeleton.saved, &skeleton.declarations.sizes(), file)?;
        let (ia3, warnings) = Self::attach(plan, skeleton, base, 0)?;
        load(&ia3, file)?;
        Ok((ia3, warnings))
    }

    fn attach(plan: Plan, skeleton: Skeleton, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let parameters = skeleton.declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let site = |(index, scales): (usize, Scales)| Site { ia3_l: leaves[index].clone(), scales };
        let ia3 = Self {
            config: plan.config,
            fan_in_fan_out: plan.fan_in_fan_out,
            modules: base.modules().clone(),
            sites: skeleton.sites.into_iter().map(|declared| declared.map(site)).collect(),
            stand_ins: skeleton.stand_ins.with(&leaves),
            saved: skeleton.saved,
            parameters,
        };
        Ok((ia3, plan.warnings))
    }
}
