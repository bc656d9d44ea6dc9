//! An encoder-decoder as data, read from `config.json`.

use std::path::Path;

use checkpoint::read_json;
use device::DType;
use serde_json::{Map, Value};
use tensor::RelativeBuckets;

use super::{CONFIG_FILE, Heads, Keys, MlpConfig, NormConfig, check_quantization, read::MAX_BYTES};
use crate::encoder_decoder::Network;
use crate::families::{EncoderDecoderFamily, EncoderFamily};
use crate::module::Modules;
use crate::{Dimensions, ModelError, Result};

/// One encoder-decoder. Nothing is allocated by the sizes in it before they were checked.
#[derive(Clone, Debug)]
pub struct EncoderDecoderConfig {
    /// The family, whose [`EncoderDecoderFamily::model_type`] is Hugging Face's name of it.
    pub family: &'static EncoderDecoderFamily,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Elements of a token's hidden state.
    pub hidden_size: usize,
    /// Elements between the two products of an MLP.
    pub intermediate_size: usize,
    /// Heads of every attention.
    pub heads: Heads,
    /// Blocks of the encoder.
    pub num_layers: usize,
    /// Blocks of the decoder.
    pub num_decoder_layers: usize,
    /// Which relative positions share a bias in the encoder, where keys may stand before and behind a query.
    pub encoder_buckets: RelativeBuckets,
    /// The same in the decoder.
    pub decoder_buckets: RelativeBuckets,
    /// The norms.
    pub norm: NormConfig,
    /// Projections of the MLPs. Paths are below the part's of a block.
    pub mlp: MlpConfig,
    /// Whether the last hidden states are multiplied by `hidden_size^-1/2` before the head.
    pub scale_decoder_outputs: bool,
    /// The first token that the decoder is given.
    pub decoder_start_token_id: u32,
    /// The token that stands in the decoder's input for a label that is not trained on.
    pub pad_token_id: u32,
    /// Tokens that end a text; empty if the file names none.
    pub eos_token_id: Vec<u32>,
    /// The dtype that the file says the weights are meant for.
    pub dtype: Option<DType>,
}

impl EncoderDecoderConfig {
    /// Reads the `config.json` of the model in `dir`, as transformers 4 or 5 wrote it. A key that is absent has the value
    /// that transformers' class of the family gives it.
    ///
    /// # Errors
    /// As [`crate::DecoderConfig::read`].
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        Self::from_json(&path, &read_json(&path, MAX_BYTES)?)
    }

    /// Reads the content of a `config.json`; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`crate::DecoderConfig::read`].
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self> {
        let keys = Keys::new(path, json);
        check_quantization(&keys)?;
        let model_type = keys.model_type(&EncoderDecoderFamily::supported)?;
        let Some(family) = EncoderDecoderFamily::find(model_type) else {
            return Err(ModelError::UnsupportedFamily {
                path: path.to_owned(),
                got: model_type.to_owned(),
                supported: EncoderDecoderFamily::supported(),
                hint: match EncoderFamily::find(model_type) {
                    Some(_) => "; encoders are for task_type SEQ_CLS or TOKEN_CLS",
                    None => "; decoders are for task_type CAUSAL_LM",
                },
            });
        };
        (family.read)(family, &keys)
    }

    /// The modules of this model, without reading a weight. Those that share values are listed as tied; files that hold
    /// others untie them when they are loaded.
    pub fn modules(&self) -> Modules {
        Network::declare(self).1
    }

    /// Its sizes.
    pub fn dimensions(&self) -> Dimensions {
        Dimensions {
            model_type: self.family.model_type,
            architecture: self.family.architecture,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_layers: self.num_layers,
            heads: self.heads,
            learned_positions: None,
            rotations_follow_length: false,
            image: None,
        }
    }
}
