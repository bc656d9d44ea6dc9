//! An encoder of text with its weights.

mod embeddings;
mod network;

use std::path::Path;

use checkpoint::Checkpoint;
use device::DType;
use tensor::Tensor;

use crate::config::EncoderConfig;
use crate::hidden::Hidden;
use crate::load::{Expected, Initial, NewModules, Spelling};
use crate::parts::Scope;
use crate::placement::Placement;
use crate::{Base, Input, ModelError, Pass, Result};

pub(crate) use network::Network;

/// What is put on top of the hidden states: which class of transformers the model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskHead {
    /// Nothing: `BertModel`, PEFT's `FEATURE_EXTRACTION`.
    FeatureExtraction,
    /// Classes of a sequence: `BertForSequenceClassification`, PEFT's `SEQ_CLS`.
    SequenceClassification {
        /// How many.
        num_labels: usize,
    },
    /// Classes of every token: `BertForTokenClassification`, PEFT's `TOKEN_CLS`.
    TokenClassification {
        /// How many.
        num_labels: usize,
    },
}

/// A frozen encoder: every token sees its whole sequence.
///
/// It is computed as transformers computes it in evaluation: dropout within the base is left out in training too.
pub struct Encoder {
    config: EncoderConfig,
    network: Network,
    head: TaskHead,
    base: Base,
}

impl Encoder {
    /// Loads the model in a Hugging Face directory under `head`. See [`crate::Decoder::load`] for `dtype`. Parameters of
    /// the head that the files do not have are drawn from `seed`, and listed in [`Base::newly_initialized`].
    ///
    /// # Errors
    /// Those of [`EncoderConfig::read`], [`Checkpoint::open`] and [`Encoder::from_checkpoint`].
    pub fn load(dir: &Path, head: TaskHead, dtype: DType, seed: u64) -> Result<Self> {
        let config = EncoderConfig::read(dir)?;
        Self::from_checkpoint(config, head, &Checkpoint::open(dir)?, dtype, seed)
    }

    /// As [`Encoder::load`], from files that are open already.
    ///
    /// # Errors
    /// [`ModelError::MissingTensors`], [`ModelError::ExtraTensors`], [`ModelError::TensorShape`],
    /// [`ModelError::TensorDtype`]; [`ModelError::Tensor`] without memory.
    pub fn from_checkpoint(
        config: EncoderConfig,
        head: TaskHead,
        checkpoint: &Checkpoint,
        dtype: DType,
        seed: u64,
    ) -> Result<Self> {
        let (network, modules) = Network::declare(&config, head);
        let expected = Expected {
            spelling: Spelling {
                base: config.base,
                is_bare: head == TaskHead::FeatureExtraction,
                head: None,
                older: &[],
            },
            embedding: config.embeddings.words,
            new: NewModules {
                modules: network.new_modules(),
                initial: Initial { deviation: config.initializer_range, seed },
                are_replaced: false,
            },
            other_heads: config.family.other_heads,
        };
        let base = Base::load(config.dimensions(), &expected, modules, checkpoint, dtype)?;
        Ok(Self { config, network, head, base })
    }

    /// What the model is.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// What is on top of it.
    pub fn head(&self) -> TaskHead {
        self.head
    }

    /// Its weights, and what a method may know of it.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The same, to quantize them.
    pub fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    /// Hidden states of the last block.
    ///
    /// # Errors
    /// [`ModelError::TokenId`], [`ModelError::TooLong`], and [`ModelError::Tensor`] from an op or the adapter.
    pub fn forward(&self, input: &Input, pass: &Pass) -> Result<Hidden> {
        input.check_tokens(self.config.vocab_size)?;
        let prompt = pass.adapter.prompt()?;
        let prompt_len = prompt.as_ref().map_or(0, |prompt| prompt.shape()[0]);
        let Placement { sequences, positions } = Placement::new(input, prompt_len, pass.adapter.position_offset())?;
        let limit = self.config.max_position_embeddings;
        match positions.iter().max() {
            Some(&last) if last as usize >= limit => return Err(ModelError::TooLong { got: last as usize, limit }),
            _ => {}
        }
        let scope = Scope::new(&self.base, &sequences, positions, pass);
        let x = self.network.embeddings.forward(input, prompt.as_ref(), &scope)?;
        let rows = self.network.blocks.forward(x, &scope, pass)?;
        Ok(Hidden { rows, sequences, prompt_len })
    }

    /// The head's scores of `rows`, some of what [`Encoder::forward`] gave: `[rows, num_labels]`. Without a head they are
    /// `rows` themselves.
    ///
    /// # Errors
    /// [`ModelError::Tensor`].
    pub fn logits(&self, rows: &Tensor, pass: &Pass) -> Result<Tensor> {
        match &self.network.head {
            Some(head) => Ok(head.forward(rows, &Scope::of_rows(&self.base, rows.shape()[0], pass)?)?),
            None => Ok(rows.clone()),
        }
    }
}
