//! Making the trained rows of a model.

use checkpoint::SafetensorsFile;
use model::{Base, Module, Modules};
use tensor::{Shape, Tensor};

use super::indices::input_embedding;
use super::{DeclaredTokenRows, PlannedRows, TrainableTokens, TrainableTokensConfig};
use crate::declare::{Declarations, Start};
use crate::load::fit;
use crate::method::{SavedTensor, Source};
use crate::targets::{Candidate, Selection};
use crate::{ModuleNames, PeftError, Warnings, base_copies, load, names};

const KEY: &str = "token_indices";
/// What PEFT calls the rows of a module.
const SUFFIX: &str = "trainable_tokens_delta";

/// Declared parameters, and what each is for.
struct Skeleton {
    /// With `target_modules` as they are saved.
    config: TrainableTokensConfig,
    declarations: Declarations,
    rows: DeclaredTokenRows,
    saved: Vec<SavedTensor>,
    warnings: Warnings,
}

impl Skeleton {
    fn new(mut config: TrainableTokensConfig, modules: &Modules) -> Result<Self, PeftError> {
        let input = input_embedding(modules);
        // PEFT takes the name of the input embedding for a pattern.
        let default = || input.map(|module| ModuleNames::Pattern(module.path.clone()));
        let no_input = || {
            let reason = "the model has no embedding of tokens; for one of images there are lora, ia3 and pixel_prompt";
            PeftError::Setting { key: KEY, reason: reason.to_owned() }
        };
        let target_modules = config.target_modules.take().or_else(default).ok_or_else(no_input)?;
        let selection = Selection {
            target_modules: &target_modules,
            exclude_modules: None,
            modules_to_save: &[],
            layers_to_transform: None,
            layers_pattern: None,
        };
        let candidates: Vec<Candidate<'_>> = modules.iter().map(Candidate::of).collect();
        let targets = selection.resolve(&candidates)?;
        let start = if config.init_weights { Start::Zeros } else { Start::Normal(1.0) };
        let (mut declarations, mut saved) = (Declarations::default(), Vec::new());
        let mut rows = DeclaredTokenRows::default();
        let mut shared = Vec::new();
        for module in modules.iter().filter(|module| targets.matched.contains(&module.path)) {
            // What shares the input embedding's values is trained with it, whether it is named or not.
            if shared.contains(&module.id) {
                continue;
            }
            let is_input = input.is_some_and(|input| input.id == module.id);
            let planned = PlannedRows::new(KEY, module, &config.token_indices, modules, is_input)?;
            let shared_by = planned.shared_by.clone();
            let index = rows.add(planned, SUFFIX, start, modules, &mut declarations, &mut saved);
            saved.extend(shared_by.iter().map(|id| copy(modules.get(*id), index)));
            shared.extend(shared_by);
        }
        let warnings = targets.warnings();
        config.target_modules = Some(targets.target_modules.sorted());
        Ok(Self { config, declarations, rows, saved, warnings })
    }
}

/// Refuses to train rows beside modules that start at random: the method's file has no place for them, so that they would start
/// anew wherever it is loaded.
fn check_heads(base: &Base) -> Result<(), PeftError> {
    let Some(&new) = base.newly_initialized().first() else { return Ok(()) };
    let path = checkpoint::Quoted(&base.modules().get(base.modules().parameter(new).module).path);
    let reason = format!(
        "{path} is newly initialized, and files of trainable tokens have no place for it; train lora with \
         trainable_token_indices, which saves it too"
    );
    Err(PeftError::Setting { key: KEY, reason })
}

/// The rows under the name of a module that shares them: PEFT saves them with every one.
fn copy(module: &Module, index: usize) -> SavedTensor {
    SavedTensor { name: names::key(&module.path, SUFFIX), alias: None, source: Source::Copy(index) }
}

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`TrainableTokens::new`].
pub fn trainable(config: &TrainableTokensConfig, modules: &Modules) -> Result<Vec<(String, Shape)>, PeftError> {
    let skeleton = Skeleton::new(config.clone(), modules)?;
    Ok(skeleton.declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl TrainableTokens {
    /// A new adapter of `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], also for a base with newly initialized modules; [`PeftError::NoTargets`],
    /// [`PeftError::UnsupportedTarget`], [`PeftError::Pattern`], [`PeftError::Tensor`].
    pub fn new(config: TrainableTokensConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        check_heads(base)?;
        let (tokens, warnings) = Self::attach(Skeleton::new(config, base.modules())?, base, seed)?;
        if tokens.config.init_weights {
            tokens.rows.start(base, &tokens.parameters)?;
        }
        Ok((tokens, warnings))
    }

    /// The adapter that was saved with `config` in `file`.
    ///
    /// # Errors
    /// As [`TrainableTokens::new`], and those of [`load()`](crate::load()).
    pub fn load(
        config: TrainableTokensConfig,
        base: &Base,
        file: &SafetensorsFile,
    ) -> Result<(Self, Warnings), PeftError> {
        let mut skeleton = Skeleton::new(config, base.modules())?;
        base_copies::add(names::PREFIX, base, file, &mut skeleton.saved)?;
        fit(&skeleton.saved, &skeleton.declarations.sizes(), file)?;
        let (tokens, warnings) = Self::attach(skeleton, base, 0)?;
        load(&tokens, file)?;
        Ok((tokens, warnings))
    }

    fn attach(skeleton: Skeleton, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let Skeleton { config, declarations, rows, saved, warnings } = skeleton;
        let parameters = declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let rows = rows.with(&leaves, base.modules());
        Ok((Self { config, modules: base.modules().clone(), rows, saved, parameters }, warnings))
    }
}
