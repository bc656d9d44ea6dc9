//! Virtual tokens out of their files.

use checkpoint::{AdapterDirectory, ENCODER_STATE, SafetensorsFile};
use model::Base;
use tensor::no_grad;

use super::plan::Plan;
use super::skeleton::{MODULES_PREFIX, PROMPT_EMBEDDINGS, Skeleton};
use super::{PromptLearning, PromptLearningConfig};
use crate::load::{fit, load_tensors};
use crate::{PeftError, Warnings, base_copies};

/// What an encoder may compute differently on another processor, of the largest value.
const ROUNDING: f32 = 1e-4;

impl PromptLearning {
    /// The virtual tokens that were saved with `config` in `directory`. If their encoder is there too, it is what is trained
    /// from here on; otherwise, as PEFT leaves it, what it computed.
    ///
    /// # Errors
    /// As [`PromptLearning::new`], and those of [`load()`](crate::load()).
    pub fn load(
        config: PromptLearningConfig,
        base: &Base,
        directory: &AdapterDirectory,
    ) -> Result<(Self, Warnings), PeftError> {
        let plan = Plan::new(config, base.dimensions(), base.modules())?;
        let mut warnings = Warnings::new();
        if let Some(state) = directory.encoder_state.as_ref().filter(|_| plan.encoder.is_computed()) {
            let prompt = Self::with_encoder(plan.clone(), base, &directory.weights, state)?;
            if prompt.computes(&directory.weights)? {
                return Ok((prompt, warnings));
            }
            warnings.push(format!(
                "{}: {ENCODER_STATE} does not compute {PROMPT_EMBEDDINGS}, which was changed without it; it is left aside",
                directory.dir().display()
            ));
        }
        let mut skeleton = Skeleton::new(plan.without_encoder(), base.modules());
        base_copies::add(MODULES_PREFIX, base, &directory.weights, &mut skeleton.saved)?;
        // Before anything is allocated by the sizes that the configuration asks for.
        fit(&skeleton.saved, &skeleton.declarations.sizes(), &directory.weights)?;
        let prompt = skeleton.build(base, 0)?;
        load_tensors(&prompt.parameters, &prompt.saved, &directory.weights)?;
        Ok((prompt, warnings))
    }

    fn with_encoder(
        plan: Plan,
        base: &Base,
        weights: &SafetensorsFile,
        state: &SafetensorsFile,
    ) -> Result<Self, PeftError> {
        let mut skeleton = Skeleton::new(plan, base.modules());
        base_copies::add(MODULES_PREFIX, base, weights, &mut skeleton.saved)?;
        fit(&skeleton.encoder_state, &skeleton.declarations.sizes(), state)?;
        let prompt = skeleton.build(base, 0)?;
        load_tensors(&prompt.parameters, &prompt.encoder_state, state)?;
        load_tensors(&prompt.parameters, &prompt.saved, weights)?;
        Ok(prompt)
    }

    /// Whether the encoder gives what is in the file.
    fn computes(&self, weights: &SafetensorsFile) -> Result<bool, PeftError> {
        let Some(saved) = weights.get(PROMPT_EMBEDDINGS) else { return Ok(false) };
        let (saved, computed) = (saved.to_f32()?, no_grad(|| self.encoder.forward())?.to_vec());
        let scale = saved.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        Ok(saved.iter().zip(&computed).all(|(saved, computed)| (saved - computed).abs() <= ROUNDING * scale))
    }
}
