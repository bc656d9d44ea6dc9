//! Making virtual tokens for a model.

use model::{Base, Dimensions, ModuleKind, Modules};
use tensor::Shape;

use super::plan::{Place, Plan};
use super::skeleton::Skeleton;
use super::{EncoderReparameterization, PromptLearning, PromptLearningConfig, PromptMethod};
use crate::{PeftError, Warnings};

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`PromptLearning::new`].
pub fn trainable(
    config: &PromptLearningConfig,
    dimensions: &Dimensions,
    modules: &Modules,
) -> Result<Vec<(String, Shape)>, PeftError> {
    let skeleton = Skeleton::new(Plan::new(config.clone(), dimensions, modules)?, modules);
    Ok(skeleton.declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl PromptLearning {
    /// New virtual tokens for `base`, ready to be trained. What was configured and means nothing is said in the warnings.
    ///
    /// # Errors
    /// [`PeftError::Setting`], [`PeftError::NoModuleToSave`], [`PeftError::Tensor`].
    pub fn new(config: PromptLearningConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let plan = Plan::new(config, base.dimensions(), base.modules())?;
        check_dropout(&plan.config)?;
        check_embedding(&plan, base.modules())?;
        let warnings = plan.warnings.clone();
        let prompt = Skeleton::new(plan, base.modules()).build(base, seed)?;
        prompt.start_from_vocabulary(base, seed)?;
        Ok((prompt, warnings))
    }
}

/// Refuses dropout that would be left out in training. An MLP has none in PEFT either.
fn check_dropout(config: &PromptLearningConfig) -> Result<(), PeftError> {
    match &config.method {
        PromptMethod::PTuning(own)
            if own.encoder_dropout > 0.0 && own.encoder_reparameterization_type == EncoderReparameterization::Lstm =>
        {
            let reason = format!("an LSTM without dropout can be trained, got {}; set it to 0", own.encoder_dropout);
            Err(PeftError::Setting { key: "encoder_dropout", reason })
        }
        _ => Ok(()),
    }
}

/// Refuses to train the input embedding beside a prompt: PEFT looks tokens up in the base's own then, so that the adapter
/// would compute something else there.
fn check_embedding(plan: &Plan, modules: &Modules) -> Result<(), PeftError> {
    let embedding = modules.iter().find(|module| matches!(module.kind, ModuleKind::Embedding { .. }));
    match (plan.place, embedding) {
        (Place::Prompt { .. }, Some(embedding)) if plan.trained.contains(&embedding.weight) => {
            let path = checkpoint::Quoted(&embedding.path);
            let reason = format!("PEFT leaves {path} as it is under a prompt; train it with a prefix or lora");
            Err(PeftError::Setting { key: "modules_to_save", reason })
        }
        _ => Ok(()),
    }
}
