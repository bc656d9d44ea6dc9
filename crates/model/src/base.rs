//! A frozen base model as a method sees it: sizes, modules, weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::DType;
use tensor::Tensor;

use crate::config::Heads;
use crate::load::{self, Expected, Loaded, StoredNames};
use crate::module::Modules;
use crate::{ModelError, ParameterId, Result};

/// Sizes that every kind of model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// What `config.json` calls the family.
    pub model_type: &'static str,
    /// The class of transformers that PEFT wraps.
    pub architecture: &'static str,
    /// Rows of the input embedding.
    pub vocab_size: usize,
    /// Elements of a token's hidden state.
    pub hidden_size: usize,
    /// Elements between the two products of an MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Heads of every block's attention.
    pub heads: Heads,
    /// Rows of a table of learned positions; `None` where a text may be of any length.
    pub learned_positions: Option<usize>,
}

/// The weights of a frozen model under the names of its modules. Every kind of model holds one, and methods know nothing
/// else of it.
pub struct Base {
    dimensions: Dimensions,
    modules: Modules,
    parameters: Arc<[Tensor]>,
    newly_initialized: Vec<ParameterId>,
    names: StoredNames,
    dir: PathBuf,
}

impl Base {
    /// The parameters of `modules` out of `checkpoint`; see [`crate::Decoder::load`] for `dtype`.
    ///
    /// # Errors
    /// [`ModelError::MissingTensors`], [`ModelError::MissingHead`], [`ModelError::ExtraTensors`],
    /// [`ModelError::TensorShape`], [`ModelError::TensorDtype`]; [`ModelError::Tensor`] without memory.
    pub(crate) fn load(
        dimensions: Dimensions,
        expected: &Expected,
        mut modules: Modules,
        checkpoint: &Checkpoint,
        dtype: DType,
    ) -> Result<Self> {
        let names = StoredNames::new(&expected.spelling, checkpoint);
        let Loaded { tensors, newly_initialized } =
            load::load(&dimensions, expected, &mut modules, &names, checkpoint, dtype)?;
        let dir = checkpoint.dir().to_owned();
        Ok(Self { dimensions, modules, parameters: tensors.into(), newly_initialized, names, dir })
    }

    /// Its sizes.
    pub fn dimensions(&self) -> &Dimensions {
        &self.dimensions
    }

    /// Its modules and parameters, in model order.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The value of a parameter, in the dtype it is held in.
    pub fn parameter(&self, id: ParameterId) -> &Tensor {
        &self.parameters[id.index()]
    }

    /// Parameters that its files do not have: those of a head for another task. They start at random.
    pub fn newly_initialized(&self) -> &[ParameterId] {
        &self.newly_initialized
    }

    /// What its files call its parameters.
    pub fn stored_names(&self) -> &StoredNames {
        &self.names
    }

    /// The directory of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Checks that every weight is a finite number. It reads the whole model once.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`] with the first tensor and element that is not.
    pub fn check_finite(&self) -> Result<()> {
        for parameter in self.modules.parameters().filter(|p| p.tied_to.is_none()) {
            let read = self.parameters[parameter.id.index()].read();
            if let Some(index) = load::check_finite(read.elements()) {
                let (dir, name, got) = (self.dir.clone(), parameter.name.clone(), read.elements().get(index));
                return Err(ModelError::NonFinite { dir, name, index, got });
            }
        }
        Ok(())
    }

    /// Its parameters, by id.
    pub(crate) fn parameters(&self) -> &Arc<[Tensor]> {
        &self.parameters
    }
}
