//! An encoder as data: everything in which the families differ.

use std::path::Path;

use checkpoint::read_json;
use device::DType;
use serde_json::{Map, Value};
use tensor::Activation;

use super::{BlockConfig, CONFIG_FILE, Keys, LayerConfig, check_quantization, read::MAX_BYTES};
use crate::encoder::{Network, TaskHead};
use crate::families::EncoderFamily;
use crate::module::Modules;
use crate::{Dimensions, ModelError, Result};

/// One encoder of text. Paths of modules are below [`EncoderConfig::base`], unless they are whole.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// The family, whose [`EncoderFamily::model_type`] is Hugging Face's name of it.
    pub family: &'static EncoderFamily,
    /// The part of the tree that a model without a head consists of. Its name stands before the paths of a model with a
    /// head, and is left out where there is none.
    pub base: &'static str,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Tokens of the longest text.
    pub max_position_embeddings: usize,
    /// The dtype that the file says the weights are meant for.
    pub dtype: Option<DType>,
    /// What a token is given to the first block as.
    pub embeddings: EmbeddingsConfig,
    /// What the blocks are built from.
    pub block: BlockConfig,
    /// One entry for each block.
    pub layers: Vec<LayerConfig>,
    /// The list of blocks.
    pub blocks: &'static str,
    /// What transformers puts on top.
    pub heads: HeadsConfig,
    /// The standard deviation of a new head's weights.
    pub initializer_range: f32,
}

/// Tables that are added up for each token, then normed.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingsConfig {
    /// Tokens.
    pub words: &'static str,
    /// The token whose row is not trained.
    pub padding_idx: Option<u32>,
    /// Positions.
    pub positions: &'static str,
    /// Where they start.
    pub first_position: FirstPosition,
    /// Parts of the text, and how many kinds there are.
    pub token_types: Option<(&'static str, usize)>,
    /// The norm of the sum.
    pub norm: &'static str,
}

/// The row of the table that belongs to the first token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPosition {
    /// The first.
    Zero,
    /// The one after the padding token's own (RoBERTa), which tokens of that id keep wherever they stand.
    AfterPadding(u32),
}

impl FirstPosition {
    /// Rows of the table that no position of a text uses.
    pub fn unused(self) -> usize {
        match self {
            FirstPosition::Zero => 0,
            FirstPosition::AfterPadding(padding_idx) => padding_idx as usize + 1,
        }
    }
}

/// Heads of the family's classes in transformers.
#[derive(Clone, Copy, Debug)]
pub struct HeadsConfig {
    /// Of the model without a head: a projection of the first token, which mean pooling does not use.
    pub pooler: Option<&'static str>,
    /// One class for each sequence, from its first token.
    pub sequence: HeadConfig,
    /// One class for each token.
    pub token: HeadConfig,
}

/// A head. Paths are whole.
#[derive(Clone, Copy, Debug)]
pub struct HeadConfig {
    /// A projection before the last, and what follows it.
    pub dense: Option<(&'static str, Activation)>,
    /// The projection to the classes.
    pub output: &'static str,
}

impl EncoderConfig {
    /// Reads the `config.json` of the model in `dir`, as transformers 4 or 5 wrote it.
    ///
    /// # Errors
    /// As [`super::DecoderConfig::read`].
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        Self::from_json(&path, &read_json(&path, MAX_BYTES)?)
    }

    /// Reads the content of a `config.json`; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`EncoderConfig::read`].
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self> {
        let keys = Keys::new(path, json);
        check_quantization(&keys)?;
        let model_type = keys.model_type(&EncoderFamily::supported)?;
        match EncoderFamily::find(model_type) {
            Some(family) => (family.read)(&keys),
            None => Err(ModelError::UnsupportedFamily {
                path: path.to_owned(),
                got: model_type.to_owned(),
                supported: EncoderFamily::supported(),
                hint: "",
            }),
        }
    }

    /// The modules of this model under `head`, without reading a weight.
    pub fn modules(&self, head: TaskHead) -> Modules {
        Network::declare(self, head).1
    }

    /// Its sizes, as every kind of model has them.
    pub fn dimensions(&self) -> Dimensions {
        Dimensions {
            model_type: self.family.model_type,
            architecture: self.family.architecture,
            vocab_size: self.vocab_size,
            hidden_size: self.block.hidden_size,
            intermediate_size: self.block.intermediate_size,
            num_layers: self.layers.len(),
            heads: self.block.heads,
            learned_positions: Some(self.max_position_embeddings),
            rotations_follow_length: false,
            image: None,
        }
    }
}
