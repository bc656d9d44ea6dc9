//! The values that a plan asks for, declared and not yet made: all that can be said without the base's weights.

use std::sync::Arc;

use model::{Base, Modules};
use tensor::Tensor;

use super::PromptLearning;
use super::encoder::{self, Encoder};
use super::plan::Plan;
use crate::PeftError;
use crate::declare::Declarations;
use crate::method::{Computed, SavedTensor, Source};
use crate::stand_ins::DeclaredStandIns;

/// The key of what an encoder computes.
pub(super) const PROMPT_EMBEDDINGS: &str = "prompt_embeddings";
/// What PEFT puts before the names of `modules_to_save`: one `model.` less than before those of adapted modules.
pub(super) const MODULES_PREFIX: &str = "base_model.";

/// Declared values, and what is saved of them as it is.
pub(super) struct Skeleton {
    plan: Plan,
    pub(super) declarations: Declarations,
    stand_ins: DeclaredStandIns,
    /// In PEFT's file.
    pub(super) saved: Vec<SavedTensor>,
    /// In the file beside it.
    pub(super) encoder_state: Vec<SavedTensor>,
}

impl Skeleton {
    pub(super) fn new(plan: Plan, modules: &Modules) -> Self {
        let mut declarations = Declarations::default();
        plan.encoder.declare(plan.place.shape(), &mut declarations);
        let (mut saved, mut encoder_state) = (Vec::new(), Vec::new());
        if plan.encoder.is_computed() {
            // Under the names that PEFT's module has for them.
            let names = declarations.shapes().map(|(name, _)| name.trim_start_matches(encoder::PREFIX).to_owned());
            encoder_state = names.enumerate().map(|(index, name)| SavedTensor::trained(name, index)).collect();
        } else {
            saved.push(SavedTensor::trained(PROMPT_EMBEDDINGS, 0));
        }
        let mut stand_ins = DeclaredStandIns::none(modules);
        for &id in &plan.trained {
            let parameter = modules.parameter(id);
            let name = format!("{MODULES_PREFIX}{}", parameter.name);
            stand_ins.add(parameter, name, &mut declarations, &mut saved);
        }
        Self { plan, declarations, stand_ins, saved, encoder_state }
    }

    /// Makes the values, drawing from `seed`.
    pub(super) fn build(self, base: &Base, seed: u64) -> Result<PromptLearning, PeftError> {
        let Self { plan, declarations, stand_ins, mut saved, encoder_state } = self;
        let parameters = declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let encoder: Arc<dyn Encoder> = plan.encoder.build(&mut leaves.iter().cloned());
        if plan.encoder.is_computed() {
            let encoder = Arc::clone(&encoder);
            let computed = Computed::new(plan.place.shape(), move || encoder.forward());
            let (name, source) = (PROMPT_EMBEDDINGS.to_owned(), Source::Computed(computed));
            saved.push(SavedTensor { name, alias: None, source });
        }
        Ok(PromptLearning {
            config: plan.config,
            place: plan.place,
            encoder,
            parameters,
            stand_ins: stand_ins.with(&leaves),
            modules: base.modules().clone(),
            saved,
            encoder_state,
        })
    }
}
