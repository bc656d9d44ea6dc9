//! Making the parameters of bottleneck adapters for a model.

use checkpoint::{ADAPTERHUB_HEAD, AdapterDirectory, CheckpointError};
use model::{Base, Dimensions, Modules};
use tensor::{Shape, Tensor};

use super::plan::Plan;
use super::skeleton::Skeleton;
use super::{Bottleneck, BottleneckConfig, ModelFacts};
use crate::load::{fit, load_tensors};
use crate::{PeftError, Warnings, load};

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`Bottleneck::new`].
pub fn trainable(
    config: &BottleneckConfig,
    dimensions: &Dimensions,
    modules: &Modules,
) -> Result<Vec<(String, Shape)>, PeftError> {
    let plan = Plan::new(config.clone(), dimensions, modules, &[])?;
    let skeleton = Skeleton::new(&plan, dimensions.model_type, modules);
    Ok(skeleton.declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl Bottleneck {
    /// New adapters of `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], [`PeftError::Tensor`].
    pub fn new(config: BottleneckConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let (plan, skeleton) = planned(config, base)?;
        Self::attach(plan, skeleton, base, seed)
    }

    /// The adapters that were saved with `config` in `directory`, and the head beside them.
    ///
    /// # Errors
    /// As [`Bottleneck::new`], and those of [`load()`](crate::load()); [`PeftError::NoSharedRule`]; [`PeftError::Checkpoint`] if
    /// the base has no trained head and none was saved.
    pub fn load(
        config: BottleneckConfig,
        base: &Base,
        directory: &AdapterDirectory,
    ) -> Result<(Self, Warnings), PeftError> {
        let file = &directory.weights;
        let (plan, skeleton) = planned(config, base)?;
        if let Some(key) = skeleton.shared_rule().filter(|key| !file.contains(key)) {
            return Err(PeftError::NoSharedRule { path: file.path().to_owned(), key: key.to_owned() });
        }
        // Before anything is allocated by the sizes that the configuration asks for.
        fit(&skeleton.saved, &skeleton.shapes(), file)?;
        let (bottleneck, mut warnings) = Self::attach(plan, skeleton, base, 0)?;
        load(&bottleneck, file)?;
        match &directory.head {
            _ if bottleneck.head.is_empty() => {}
            Some(head) => load_tensors(&bottleneck.parameters, &bottleneck.head, head)?,
            None if base.newly_initialized().is_empty() => {
                let dir = directory.dir().display();
                warnings.push(format!("{dir}: there is no {ADAPTERHUB_HEAD}; the head of the base is used"));
            }
            None => {
                let (dir, hint) = (directory.dir().to_owned(), "; the base has no trained head either".to_owned());
                return Err(CheckpointError::NoWeights { dir, expected: ADAPTERHUB_HEAD, hint }.into());
            }
        }
        Ok((bottleneck, warnings))
    }

    fn attach(plan: Plan, skeleton: Skeleton, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let Plan { config, activation, warnings, .. } = plan;
        let Skeleton { declarations, sites, saved, stand_ins, head, .. } = skeleton;
        let parameters = declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let sites = sites.into_iter().map(|site| site.map(|site| site.with(&leaves))).collect();
        let stand_ins = stand_ins.with(&leaves);
        Ok((Self { config, activation, parameters, sites, saved, stand_ins, head }, warnings))
    }
}

fn planned(config: BottleneckConfig, base: &Base) -> Result<(Plan, Skeleton), PeftError> {
    let (dimensions, modules) = (base.dimensions(), base.modules());
    let mut plan = Plan::new(config, dimensions, modules, base.newly_initialized())?;
    let skeleton = Skeleton::new(&plan, dimensions.model_type, modules);
    let ModelFacts { model_name, model_class, .. } = plan.config.model;
    plan.config.model = ModelFacts {
        model_name,
        // That of a classifier is known to whoever makes one, or to its file.
        model_class: Some(model_class).filter(|class| !class.is_empty()).unwrap_or(dimensions.architecture.to_owned()),
        model_type: dimensions.model_type.to_owned(),
        hidden_size: Some(dimensions.hidden_size),
    };
    Ok((plan, skeleton))
}
