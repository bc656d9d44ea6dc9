//! `IMAGE_CLS`: the class of an image.

use data::Batch;
use model::{Base, ImageClassifier, Images, Pass, VisionConfig};
use tensor::{LossSum, Tensor, no_grad, ops};

use super::{Logits, Task};
use crate::Error;
use crate::run::plan::{Activations, Keeping, Trained, block_activations};

/// A model that scores classes of images.
pub struct ImageClassification {
    model: ImageClassifier,
}

impl ImageClassification {
    /// The task of `model`, which has a head.
    pub fn new(model: ImageClassifier) -> Self {
        Self { model }
    }

    /// `[num_images, num_labels]`.
    fn scores(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        Ok(self.model.logits(&Images::new(&batch.pixel_values, batch.num_sequences()), pass)?)
    }
}

impl Task for ImageClassification {
    fn base(&self) -> &Base {
        self.model.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.model.base_mut()
    }

    fn loss(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        Ok(ops::cross_entropy(&self.scores(batch, pass)?, &batch.labels, None)?)
    }

    fn evaluate(&self, batch: &Batch, pass: &Pass) -> Result<LossSum, Error> {
        let scores = no_grad(|| self.scores(batch, pass))?;
        Ok(ops::cross_entropy_statistics(&scores, &batch.labels, None)?)
    }

    /// `[batch, num_labels]`.
    fn logits(&self, batch: &Batch, pass: &Pass) -> Result<Logits, Error> {
        let scores = no_grad(|| self.scores(batch, pass))?;
        Ok(Logits { shape: scores.shape().to_vec(), values: scores.to_vec() })
    }

    fn activations(&self, trained: &Trained, tokens: usize, keeping: Keeping) -> Activations {
        let (config, modules) = (self.model.config(), self.model.base().modules());
        let layers = config.layers.len();
        let blocks = block_activations(&config.block, layers, modules, trained, tokens, keeping);
        // Pixels of the batch, cut into patches, and once more with what is added to them.
        let images = tokens.div_ceil(config.num_tokens());
        let pixels = images * config.image_shape().iter().product::<usize>() * size_of::<f32>();
        Activations { workspace: blocks.workspace + 3 * pixels as u64, ..blocks }
    }

    fn images(&self) -> Option<&VisionConfig> {
        Some(self.model.config())
    }
}
