//! Models of images: an image is cut into patches, which are the tokens of an encoder.

mod embeddings;
mod images;
mod network;

use std::path::Path;
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::DType;
use tensor::{Tensor, ops};

use crate::config::VisionConfig;
use crate::hidden::Hidden;
use crate::load::{Expected, Initial, NewModules, Spelling};
use crate::parts::{Linear, Scope};
use crate::placement::Placement;
use crate::{Base, Pass, Result};

pub use images::Images;
pub(crate) use network::Network;

/// A frozen vision transformer, with a classifier for its head (`ViTForImageClassification`, and those of DeiT) or without one
/// (`ViTModel`).
///
/// It is computed as transformers computes it in evaluation: dropout within the base is left out in training too. The rows
/// of an adapter's prompt are put before those of each image; nothing is added to them, as there are no positions for them
/// (Jia et al. 2022, "Visual prompt tuning").
pub struct ImageClassifier {
    config: VisionConfig,
    network: Network,
    base: Base,
}

impl ImageClassifier {
    /// Loads the model in a Hugging Face directory under a head of `num_labels` classes, or without one. See
    /// [`crate::Decoder::load`] for `dtype`. A head that the files do not have, or have for another number of classes,
    /// is drawn from `seed` and listed in [`Base::newly_initialized`].
    ///
    /// # Errors
    /// Those of [`VisionConfig::read`], [`Checkpoint::open`] and [`ImageClassifier::from_checkpoint`].
    pub fn load(dir: &Path, num_labels: Option<usize>, dtype: DType, seed: u64) -> Result<Self> {
        let config = VisionConfig::read(dir)?;
        Self::from_checkpoint(config, num_labels, &Checkpoint::open(dir)?, dtype, seed)
    }

    /// As [`ImageClassifier::load`], from files that are open already.
    ///
    /// # Errors
    /// [`crate::ModelError::MissingTensors`], [`crate::ModelError::ExtraTensors`], [`crate::ModelError::TensorShape`],
    /// [`crate::ModelError::TensorDtype`]; [`crate::ModelError::Tensor`] without memory.
    pub fn from_checkpoint(
        config: VisionConfig,
        num_labels: Option<usize>,
        checkpoint: &Checkpoint,
        dtype: DType,
        seed: u64,
    ) -> Result<Self> {
        let (network, modules) = Network::declare(&config, num_labels);
        let expected = Expected {
            spelling: Spelling { base: config.base, is_bare: num_labels.is_none(), head: None, older: config.older },
            embedding: "embeddings",
            new: NewModules {
                modules: network.heads.iter().map(|head| head.module).collect(),
                initial: Initial { deviation: config.initializer_range, seed },
                are_replaced: num_labels.is_some_and(|num_labels| num_labels != config.labels.len()),
            },
            other_heads: config.family.other_heads,
        };
        let base = Base::load(config.dimensions(), &expected, modules, checkpoint, dtype)?;
        Ok(Self { config, network, base })
    }

    /// What the model is.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// Its weights, and what a method may know of it.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The same, to quantize them.
    pub fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    /// The last hidden state of each image's class token, normed: `[num_images, hidden_size]`.
    ///
    /// # Errors
    /// [`crate::ModelError::PixelValues`] for images of another size, and [`crate::ModelError::Tensor`] from an op or the
    /// adapter.
    pub fn features(&self, images: &Images, pass: &Pass) -> Result<Tensor> {
        self.token(0, &self.hidden(images, pass)?, pass)
    }

    /// The hidden states of all tokens after the last block.
    fn hidden(&self, images: &Images, pass: &Pass) -> Result<Hidden> {
        images.check(&self.config)?;
        let prompt = pass.adapter.prompt()?;
        let prompt_len = prompt.as_ref().map_or(0, |prompt| prompt.shape()[0]);
        let placement = Placement::of_equal(images.len(), prompt_len + self.config.num_tokens())?;
        let sequences = Arc::clone(&placement.sequences);
        let scope = Scope::new(&self.base, &sequences, placement.positions, pass);
        let x = self.network.embeddings.forward(images, prompt.as_ref(), &scope)?;
        let rows = self.network.blocks.forward(x, &scope, pass)?;
        Ok(Hidden { rows, sequences, prompt_len })
    }

    /// A special token of each image, normed: `[num_images, hidden_size]`.
    fn token(&self, index: usize, hidden: &Hidden, pass: &Pass) -> Result<Tensor> {
        let rows = hidden.one_each(|_, rows| rows.start + hidden.prompt_len + index)?;
        Ok(self.network.norm.forward(&rows, &Scope::of_rows(&self.base, rows.shape()[0], pass)?)?)
    }

    /// Scores of the classes, `[num_images, num_labels]`, the mean of what each head says; without a head the features.
    ///
    /// # Errors
    /// As [`ImageClassifier::features`].
    pub fn logits(&self, images: &Images, pass: &Pass) -> Result<Tensor> {
        let hidden = self.hidden(images, pass)?;
        let scope = Scope::of_rows(&self.base, images.len(), pass)?;
        let scores = |(index, head): (usize, &Linear)| Ok(head.forward(&self.token(index, &hidden, pass)?, &scope)?);
        let mut of_heads = self.network.heads.iter().enumerate().map(scores);
        match (of_heads.next(), of_heads.next()) {
            (None, _) => self.token(0, &hidden, pass),
            (Some(scores), None) => scores,
            (Some(class), Some(distillation)) => Ok(ops::scale(&ops::add(&class?, &distillation?)?, 0.5)?),
        }
    }
}
