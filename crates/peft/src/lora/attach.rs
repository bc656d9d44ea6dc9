//! Making a LoRA adapter's parameters for a model.

use std::sync::Arc;

use checkpoint::SafetensorsFile;
use model::{Base, Module, ModuleKind, Modules};
use tensor::{Shape, Tensor};

use super::plan::{Plan, PlannedSite};
use super::skeleton::{DeclaredSite, Skeleton, sizes};
use super::{BasePart, Dora, InitLoraWeights, Lora, LoraConfig, Site};
use crate::load::fit;
use crate::method::{SavedTensor, Source};
use crate::{ModuleNames, PeftError, Warnings, base_copies, load, names};

/// The embeddings whose base weights PEFT saves along with the adapter when they are adapted.
const EMBEDDINGS: [&str; 2] = ["embed_tokens", "lm_head"];

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`Lora::new`].
pub fn trainable(config: &LoraConfig, model_type: &str, modules: &Modules) -> Result<Vec<(String, Shape)>, PeftError> {
    let plan = Plan::new(config.clone(), model_type, modules)?;
    Ok(Skeleton::new(&plan, modules).declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl Lora {
    /// A new adapter of `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], [`PeftError::NoTargets`], [`PeftError::NoDefaultTargets`], [`PeftError::UnsupportedTarget`],
    /// [`PeftError::NoModuleToSave`], [`PeftError::Pattern`], [`PeftError::Tensor`].
    pub fn new(config: LoraConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let mut plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        plan.warn_of_ranks(base.modules());
        let mut skeleton = Skeleton::new(&plan, base.modules());
        skeleton.saved.extend(embeddings(&plan, base)?);
        let declared = skeleton.sites.clone();
        let (mut lora, warnings) = Self::attach(plan, skeleton, base, seed)?;
        lora.start(&declared, base, seed)?;
        lora.rows.start(base, &lora.parameters)?;
        lora.save_what_was_added();
        Ok((lora, warnings))
    }

    /// The adapter that was saved with `config` in `file`.
    ///
    /// # Errors
    /// As [`Lora::new`], and those of [`load()`](crate::load()); [`PeftError::Setting`] for one that started as a random part
    /// of the base, which its file does not hold.
    pub fn load(config: LoraConfig, base: &Base, file: &SafetensorsFile) -> Result<(Self, Warnings), PeftError> {
        check_start(config.init_lora_weights)?;
        let plan = Plan::new(config, base.dimensions().model_type, base.modules())?;
        let mut skeleton = Skeleton::new(&plan, base.modules());
        skeleton.saved.extend(embeddings(&plan, base)?);
        base_copies::add(names::PREFIX, base, file, &mut skeleton.saved)?;
        // Before anything is allocated by the sizes that the configuration asks for.
        fit(&skeleton.saved, &skeleton.declarations.sizes(), file)?;
        let (lora, warnings) = Self::attach(plan, skeleton, base, 0)?;
        load(&lora, file)?;
        Ok((lora, warnings))
    }

    fn attach(plan: Plan, skeleton: Skeleton, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let Skeleton { declarations, sites, trained, rows, saved } = skeleton;
        let parameters = declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let mut made = vec![None; sites.len()];
        for planned in &plan.sites {
            let module = base.modules().get(planned.module);
            let Some(declared) = sites[planned.module.index()] else { continue };
            let site = declared.with(&leaves, base, module)?;
            let base_part = BasePart::of(plan.config.init_lora_weights, base, module, planned, seed)?;
            made[planned.module.index()] = Some(Site { base_part, ..site });
        }
        let Plan { config, fan_in_fan_out, warnings, .. } = plan;
        let lora = Self {
            config,
            fan_in_fan_out,
            modules: base.modules().clone(),
            parameters,
            sites: made,
            saved_config: None,
            trained: trained.with(&leaves),
            rows: rows.with(&leaves, base.modules()),
            saved,
        };
        Ok((lora, warnings))
    }
}

impl Lora {
    /// A new adapter that started as a part of the base is saved as plain LoRA of twice the rank.
    fn save_what_was_added(&mut self) {
        if !self.config.init_lora_weights.takes_from_base() {
            return;
        }
        self.saved_config = Some(self.config.doubled());
        for module in self.modules.iter() {
            let Some(site) = &self.sites[module.id.index()] else { continue };
            let Some(part) = &site.base_part else { continue };
            for tensor in part.saved(site, module) {
                self.saved.retain(|saved| saved.name != tensor.name);
                self.saved.push(tensor);
            }
        }
    }
}

impl DeclaredSite {
    fn with(self, leaves: &[Tensor], base: &Base, module: &Module) -> Result<Site, PeftError> {
        let dora = |index: usize| Dora::new(leaves[index].clone(), base, module).map(Arc::new);
        Ok(Site {
            lora_a: leaves[self.lora_a].clone(),
            lora_b: leaves[self.lora_b].clone(),
            lora_bias: self.lora_bias.map(|index| leaves[index].clone()),
            scaling: self.scaling,
            dora: self.magnitude.map(dora).transpose()?,
            base_part: None,
        })
    }
}

impl Plan {
    /// Says which ranks are beyond what a product of two matrices can express. PEFT allows them, and an adapter with one
    /// rank for all modules easily has some where keys and values are narrow.
    fn warn_of_ranks(&mut self, modules: &Modules) {
        let beyond = |site: &&PlannedSite| {
            let (input, output) = sizes(modules.get(site.module));
            site.rank > input.min(output)
        };
        let mut beyond = self.sites.iter().filter(beyond);
        if let Some(first) = beyond.next() {
            let module = modules.get(first.module);
            let (input, output) = sizes(module);
            let more = match beyond.count() {
                0 => String::new(),
                more => format!(", and so in {more} more"),
            };
            self.warnings.push(format!(
                "rank {} of {} is more than the smaller side of its weight, {}, can use{more}",
                first.rank,
                checkpoint::Quoted(&module.path),
                input.min(output),
            ));
        }
    }
}

/// Refuses a file whose adapter started as a part of the base that was drawn: PEFT draws another one where it loads such a file,
/// and computes something else than was trained.
fn check_start(init: InitLoraWeights) -> Result<(), PeftError> {
    let InitLoraWeights::Pissa { iterations: Some(iterations) } = init else { return Ok(()) };
    let reason = format!(
        "pissa_niter_{iterations} starts from a random part of the base, and the file does not hold it; save the adapter as \
         plain LoRA in the Python process that trained it, with path_initial_model_for_weight_conversion"
    );
    Err(PeftError::Setting { key: "init_lora_weights", reason })
}

/// The base weights of adapted embeddings, which PEFT saves if `target_modules` names them by these very names.
fn embeddings(plan: &Plan, base: &Base) -> Result<Vec<SavedTensor>, PeftError> {
    let modules = base.modules();
    let adapted = || plan.sites.iter().map(|site| modules.get(site.module));
    let named = match &plan.config.target_modules {
        Some(ModuleNames::List(names)) => names.iter().any(|name| EMBEDDINGS.contains(&name.as_str())),
        _ => adapted().any(|module| EMBEDDINGS.iter().any(|name| module.path.rsplit('.').next() == Some(name))),
    };
    // Rows are trained so that files are small: PEFT adds no table to them.
    if !named || !plan.rows.is_empty() {
        return Ok(Vec::new());
    }
    let input = modules.iter().find(|module| matches!(module.kind, ModuleKind::Embedding { .. }));
    let both = adapted().filter(|module| module.is_head || input.is_some_and(|input| input.id == module.id));
    both.map(|module| {
        let (name, source) =
            (names::key(&module.path, "base_layer.weight"), Source::Base(base.parameter(module.weight)?));
        Ok(SavedTensor { name, alias: None, source })
    })
    .collect()
}
