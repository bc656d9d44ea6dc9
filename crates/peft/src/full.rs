//! Full fine-tuning: every parameter of the base is trained.
//!
//! What is saved is a model of its own in Hugging Face's layout, `model.safetensors`, and not an adapter.

use checkpoint::MODEL_WEIGHTS;
use model::{Adapter, Base, Modules, ParameterId};
use tensor::{Parameters, Tensor};

use crate::declare::{Declarations, Start};
use crate::method::{Method, SavedTensor};
use crate::{PeftError, finite};

/// Every parameter of a model, trained.
pub struct Full {
    modules: Modules,
    parameters: Parameters,
    /// What stands in for each parameter of the base, by its number. Tied parameters share one.
    trained: Vec<Tensor>,
    saved: Vec<SavedTensor>,
}

impl Full {
    /// Trainable copies, in f32, of all parameters of `base`.
    ///
    /// # Errors
    /// [`PeftError::Tensor`] without memory.
    pub fn new(base: &Base) -> Result<Self, PeftError> {
        let modules = base.modules();
        let mut declarations = Declarations::default();
        let mut saved = Vec::new();
        let mut positions = vec![0; modules.parameters().len()];
        for parameter in modules.parameters().filter(|parameter| parameter.tied_to.is_none()) {
            let index = declarations.add(parameter.name.clone(), &parameter.shape, Start::Base(parameter.id));
            positions[parameter.id.index()] = index;
            saved.push(SavedTensor::trained(parameter.name.clone(), index));
        }
        for parameter in modules.parameters() {
            if let Some(original) = parameter.tied_to {
                positions[parameter.id.index()] = positions[original.index()];
            }
        }
        let parameters = declarations.build(base, 0)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        let trained = positions.into_iter().map(|index| leaves[index].clone()).collect();
        Ok(Self { modules: modules.clone(), parameters, trained, saved })
    }
}

impl Adapter for Full {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.trained.get(id.index())
    }
}

impl Method for Full {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        None
    }

    fn weights_file(&self) -> &'static str {
        MODEL_WEIGHTS
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn merges(&self, _id: ParameterId) -> bool {
        true
    }

    fn merge(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        let trained = &self.trained[id.index()];
        finite::check(&self.modules.parameter(id).name, trained)?;
        trained.read().elements().widen_into(values);
        Ok(())
    }

    fn keeps_tie(&self, _id: ParameterId, _original: ParameterId) -> bool {
        true
    }
}
