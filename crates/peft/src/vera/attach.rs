//! Making a VeRA adapter's vectors for a model.

use checkpoint::SafetensorsFile;
use model::{Base, Modules};
use tensor::{Shape, Tensor};

use super::plan::Plan;
use super::projection::Projections;
use super::{Site, Vera, VeraConfig};
use crate::declare::{Declarations, Start};
use crate::load::fit;
use crate::method::SavedTensor;
use crate::stand_ins::DeclaredStandIns;
use crate::{PeftError, Warnings, base_copies, load, names};

/// Declared parameters, and what each is for.
struct Skeleton {
    declarations: Declarations,
    /// By the number of the module, the positions of lambda_b and lambda_d.
    sites: Vec<Option<[usize; 2]>>,
    stand_ins: DeclaredStandIns,
    saved: Vec<SavedTensor>,
}

impl Skeleton {
    fn new(plan: &Plan, modules: &Modules) -> Self {
        let (mut declarations, mut saved) = (Declarations::default(), Vec::new());
        let mut sites = vec![None; modules.iter().len()];
        let mut stand_ins = DeclaredStandIns::none(modules);
        let [b_start, d_start] = match plan.config.init_weights {
            true => [Start::Zeros, Start::Constant(plan.config.d_initial as f32)],
            false => [Start::Constant(1.0), Start::Normal(1.0)],
        };
        for &(id, [_, outputs]) in &plan.targets.sites {
            let mut declare = |suffix, size, start| {
                let name = names::key(&modules.get(id).path, suffix);
                let index = declarations.add(name.clone(), &[size], start);
                saved.push(SavedTensor::trained(name, index));
                index
            };
            sites[id.index()] =
                Some([declare("vera_lambda_b", outputs, b_start), declare("vera_lambda_d", plan.config.r, d_start)]);
        }
        for &id in &plan.trained {
            let parameter = modules.parameter(id);
            let adapted = sites[parameter.module.index()].is_some();
            stand_ins.add_wrapped(parameter, modules.get(parameter.module), adapted, &mut declarations, &mut saved);
        }
        Self { declarations, sites, stand_ins, saved }
    }
}

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`Vera::new`].
pub fn trainable(config: &VeraConfig, model_type: &str, modules: &Modules) -> Result<Vec<(String, Shape)>, PeftError> {
    let plan = Plan::new(config.clone(), model_type, modules)?;
    Ok(Skeleton::new(&plan, modules).declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl Vera {
    /// A new adapter of `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], [`PeftError::NoTargets`], [`PeftError::NoDefaultTargets`], [`PeftError::UnsupportedTarget`],
    /// [`PeftError::NoModuleToSave`], [`PeftError::Pattern`], [`PeftError::Tensor`].
    pub fn new(config: VeraConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        let skeleton = Skeleton::new(&plan, base.modules());
        let projections = Projections::draw(&plan.config, plan.size())?;
        Self::attach(plan, skeleton, projections, base, seed)
    }

    /// The adapter that was saved with `config` in `file`, with the projections that the file has; it keeps them where it is
    /// saved again.
    ///
    /// # Errors
    /// As [`Vera::new`], and those of [`load()`](crate::load()).
    pub fn load(config: VeraConfig, base: &Base, file: &SafetensorsFile) -> Result<(Self, Warnings), PeftError> {
        let mut plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        let mut skeleton = Skeleton::new(&plan, base.modules());
        base_copies::add(names::PREFIX, base, file, &mut skeleton.saved)?;
        let projections = match Projections::read(&plan.config, plan.size(), file)? {
            Some(projections) => {
                plan.config.save_projection = true;
                projections
            }
            None => {
                // Before anything is allocated by the rank that the configuration asks for.
                fit(&skeleton.saved, &skeleton.declarations.sizes(), file)?;
                Projections::draw(&plan.config, plan.size())?
            }
        };
        let (vera, warnings) = Self::attach(plan, skeleton, projections, base, 0)?;
        load(&vera, file)?;
        Ok((vera, warnings))
    }

    fn attach(
        plan: Plan,
        skeleton: Skeleton,
        mut projections: Projections,
        base: &Base,
        seed: u64,
    ) -> Result<(Self, Warnings), PeftError> {
        let Skeleton { declarations, sites: declared, stand_ins, mut saved } = skeleton;
        let parameters = declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let mut sites = vec![None; declared.len()];
        for (id, sizes) in plan.targets.sites {
            let Some([lambda_b, lambda_d]) = declared[id.index()] else { continue };
            let [a, b] = projections.parts(sizes, parameters.device())?;
            let [lambda_b, lambda_d] = [lambda_b, lambda_d].map(|index| leaves[index].clone());
            sites[id.index()] = Some(Site { lambda_b, lambda_d, a, b });
        }
        if plan.config.save_projection {
            saved.extend(projections.saved());
        }
        let vera = Self {
            config: plan.config,
            fan_in_fan_out: plan.targets.fan_in_fan_out,
            modules: base.modules().clone(),
            sites,
            stand_ins: stand_ins.with(&leaves),
            saved,
            parameters,
        };
        Ok((vera, plan.targets.warnings))
    }
}
