//! What every method has in common beyond its hooks in the model.

use std::sync::Arc;

use checkpoint::ADAPTER_WEIGHTS;
use model::{Adapter, ParameterId};
use tensor::{Gradients, Parameters, Shape, Tensor};

use crate::PeftError;

/// A fine-tuning method attached to a model: hooks in the forward pass, trainable values, files, and the way back into
/// the base weights.
pub trait Method: Adapter {
    /// The trainable values. Their order never changes, so that an optimizer's state can follow it.
    fn parameters(&self) -> &Parameters;

    /// The text of `adapter_config.json`; `None` if what is saved is a model and not an adapter.
    fn config_text(&self) -> Option<String>;

    /// The name of the file of tensors.
    fn weights_file(&self) -> &'static str {
        ADAPTER_WEIGHTS
    }

    /// What its header says beside the tensors.
    fn metadata(&self) -> &'static [(&'static str, &'static str)] {
        // What PyTorch's writers put into a file.
        &[("format", "pt")]
    }

    /// The tensors of that file.
    fn tensors(&self) -> Vec<SavedTensor>;

    /// Trainable values that the file has no place for, and without which training could not go on from it. They are saved
    /// beside it, in [`checkpoint::ENCODER_STATE`].
    fn encoder_state(&self) -> Vec<SavedTensor> {
        Vec::new()
    }

    /// Parameters of the model's head that are trained, where they have a file of their own, [`checkpoint::ADAPTERHUB_HEAD`].
    fn head(&self) -> Vec<SavedTensor> {
        Vec::new()
    }

    /// Whether [`Method::merge`] changes this parameter of the base.
    fn merges(&self, id: ParameterId) -> bool;

    /// Folds the method into one parameter of the base, given as `values` in its own shape and row-major: with all of them
    /// merged the base alone computes what base and method computed.
    ///
    /// # Errors
    /// [`PeftError::Unmergeable`] if the base has no room for a part of the method; [`PeftError::NonFinite`].
    fn merge(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError>;

    /// Whether a parameter stays tied to `original` when they are merged, because both change alike.
    fn keeps_tie(&self, id: ParameterId, original: ParameterId) -> bool {
        let _ = (id, original);
        false
    }

    /// A term that is added to the mean loss of every step of training, as a scalar: a penalty on the trainable values.
    ///
    /// # Errors
    /// Those of the ops.
    fn penalty(&self) -> tensor::Result<Option<Tensor>> {
        Ok(None)
    }

    /// Whether [`Method::after_step`] is to be called: for the gradients, which it reads, a device is waited for.
    fn reads_gradients(&self) -> bool {
        false
    }

    /// Called after step `step` of training, counted from 1, which was taken with `grad_scale` times `gradients`, those of
    /// [`Method::parameters`] in their order, if the method [asks for it](Method::reads_gradients).
    ///
    /// # Errors
    /// Those of reading and changing values.
    fn after_step(&self, step: u64, gradients: &Gradients, grad_scale: f32) -> Result<(), PeftError> {
        let _ = (step, gradients, grad_scale);
        Ok(())
    }

    /// What [`Method::after_step`] keeps from one step to the next, under names: training goes on from it.
    fn training_state(&self) -> Vec<(String, Vec<f32>)> {
        Vec::new()
    }

    /// Sets what [`Method::training_state`] gave, in its order and sizes.
    fn set_training_state(&self, state: &[Vec<f32>]) {
        let _ = state;
    }
}

/// A tensor of a method's file.
#[derive(Clone, Debug)]
pub struct SavedTensor {
    /// The key in the file.
    pub name: String,
    /// Another key under which older files have it.
    pub alias: Option<String>,
    /// Where its values are.
    pub source: Source,
}

/// Where the values of a saved tensor are.
#[derive(Clone, Debug)]
pub enum Source {
    /// A trainable value, by its position among [`Method::parameters`].
    Trained(usize),
    /// The transpose of a trainable matrix.
    Transposed(usize),
    /// A trainable value once more, under the name of another module that shares it. Loading reads over it, and takes files
    /// without it.
    Copy(usize),
    /// Values of the frozen base that are saved along with the method.
    Base(Tensor),
    /// Computed from the trainable values whenever the file is written. Loading reads over it.
    Computed(Computed),
}

/// Values that follow from the trainable ones.
#[derive(Clone)]
pub struct Computed {
    shape: Shape,
    compute: Arc<dyn Fn() -> tensor::Result<Tensor> + Send + Sync>,
}

impl Computed {
    /// What `compute` gives, which has `shape`.
    pub fn new(shape: impl Into<Shape>, compute: impl Fn() -> tensor::Result<Tensor> + Send + Sync + 'static) -> Self {
        Self { shape: shape.into(), compute: Arc::new(compute) }
    }

    /// The values, for the trainable ones of this moment. Nothing is recorded.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn evaluate(&self) -> tensor::Result<Tensor> {
        tensor::no_grad(|| (self.compute)())
    }
}

impl std::fmt::Debug for Computed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Computed({})", self.shape)
    }
}

impl SavedTensor {
    /// The trainable value `index` under its own shape.
    pub(crate) fn trained(name: impl Into<String>, index: usize) -> Self {
        Self { name: name.into(), alias: None, source: Source::Trained(index) }
    }

    /// The sizes in the file, given those of the trainable values.
    pub(crate) fn shape(&self, trainable: &[Shape]) -> Vec<usize> {
        match &self.source {
            Source::Trained(index) | Source::Copy(index) => trainable[*index].sizes().to_vec(),
            Source::Transposed(index) => trainable[*index].sizes().iter().rev().copied().collect(),
            Source::Base(tensor) => tensor.shape().to_vec(),
            Source::Computed(computed) => computed.shape.sizes().to_vec(),
        }
    }
}
