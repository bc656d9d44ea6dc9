//! Making an AdaLoRA adapter's matrices for a model.

use checkpoint::SafetensorsFile;
use model::{Base, Modules};
use tensor::{Shape, Tensor};

use super::allocator::{Allocator, Triplet};
use super::plan::Plan;
use super::{AdaLora, AdaLoraConfig, Leaf, Site};
use crate::declare::{Declarations, Start};
use crate::load::fit;
use crate::lora::InitLoraWeights;
use crate::method::SavedTensor;
use crate::stand_ins::DeclaredStandIns;
use crate::{PeftError, Warnings, base_copies, load, names};

/// Declared parameters, and what each is for.
struct Skeleton {
    declarations: Declarations,
    /// By the number of the module, the positions of A, E and B.
    sites: Vec<Option<[usize; 3]>>,
    stand_ins: DeclaredStandIns,
    /// Tensors of A, E and B.
    matrices: Vec<SavedTensor>,
    /// The others.
    saved: Vec<SavedTensor>,
}

impl Skeleton {
    fn new(plan: &Plan, modules: &Modules) -> Self {
        let (mut declarations, mut matrices, mut saved) = (Declarations::default(), Vec::new(), Vec::new());
        let mut sites = vec![None; modules.iter().len()];
        let mut stand_ins = DeclaredStandIns::none(modules);
        // PEFT draws all three from a standard normal distribution where they are to start at random.
        let (matrix, values) = match plan.config.lora.init_lora_weights {
            InitLoraWeights::Random => (Start::Normal(1.0), Start::Normal(1.0)),
            _ => (Start::Normal(0.02), Start::Zeros),
        };
        for (&(id, [inputs, outputs]), &rank) in plan.targets.sites.iter().zip(&plan.ranks) {
            let mut declare = |suffix, shape: [usize; 2], start| {
                let name = names::key(&modules.get(id).path, suffix);
                let index = declarations.add(name.clone(), &shape, start);
                matrices.push(SavedTensor::trained(name, index));
                index
            };
            let a = declare("lora_A", [rank, inputs], matrix);
            let e = declare("lora_E", [rank, 1], values);
            let b = declare("lora_B", [outputs, rank], matrix);
            sites[id.index()] = Some([a, e, b]);
        }
        for &id in &plan.trained {
            let parameter = modules.parameter(id);
            let adapted = sites[parameter.module.index()].is_some();
            stand_ins.add_wrapped(parameter, modules.get(parameter.module), adapted, &mut declarations, &mut saved);
        }
        Self { declarations, sites, stand_ins, matrices, saved }
    }
}

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`AdaLora::new`].
pub fn trainable(
    config: &AdaLoraConfig,
    model_type: &str,
    modules: &Modules,
) -> Result<Vec<(String, Shape)>, PeftError> {
    let plan = Plan::new(config.clone(), model_type, modules)?;
    Ok(Skeleton::new(&plan, modules).declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl AdaLora {
    /// A new adapter of `base`, ready to be trained, of whose ranks none is distributed yet. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], [`PeftError::NoTargets`], [`PeftError::NoDefaultTargets`], [`PeftError::UnsupportedTarget`],
    /// [`PeftError::NoModuleToSave`], [`PeftError::Pattern`], [`PeftError::Tensor`].
    pub fn new(config: AdaLoraConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let undistributed = AdaLoraConfig { rank_pattern: None, ..config };
        let plan = Plan::new(undistributed, base.dimensions().model_type, base.modules())?;
        let skeleton = Skeleton::new(&plan, base.modules());
        Self::attach(plan, skeleton, base, seed)
    }

    /// The adapter that was saved with `config` in `file`.
    ///
    /// # Errors
    /// As [`AdaLora::new`], and those of [`load()`](crate::load()).
    pub fn load(config: AdaLoraConfig, base: &Base, file: &SafetensorsFile) -> Result<(Self, Warnings), PeftError> {
        let plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        let mut skeleton = Skeleton::new(&plan, base.modules());
        base_copies::add(names::PREFIX, base, file, &mut skeleton.saved)?;
        let expected = [&skeleton.matrices[..], &skeleton.saved].concat();
        // Before anything is allocated by the ranks that the configuration asks for.
        fit(&expected, &skeleton.declarations.sizes(), file)?;
        let (adalora, warnings) = Self::attach(plan, skeleton, base, 0)?;
        load(&adalora, file)?;
        Ok((adalora, warnings))
    }

    fn attach(plan: Plan, skeleton: Skeleton, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let Skeleton { declarations, sites, stand_ins, saved, .. } = skeleton;
        let parameters = declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let leaf = |index: usize| Leaf { index, tensor: leaves[index].clone() };
        let site = |[a, e, b]: [usize; 3]| Site { lora_a: leaf(a), lora_e: leaf(e), lora_b: leaf(b) };
        let sites: Vec<Option<Site>> = sites.into_iter().map(|positions| positions.map(site)).collect();
        let allocator = plan.config.rank_pattern.is_none().then(|| {
            let triplets = sites.iter().flatten().map(|site| Triplet::of(site, &parameters));
            Allocator::new(&plan.config, triplets.collect())
        });
        let adalora = Self {
            config: plan.config,
            fan_in_fan_out: plan.targets.fan_in_fan_out,
            modules: base.modules().clone(),
            sites,
            stand_ins: stand_ins.with(&leaves),
            saved,
            allocator,
            parameters,
        };
        Ok((adalora, plan.targets.warnings))
    }
}
