//! `adapter_config.json` of the prompt learning methods.
//!
//! Keys that are younger than PEFT 0.10 are written only when they say something, so that every release reads the file.

use model::Base;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::{PeftError, Warnings, modules_to_save};

/// More than any model's positions. It keeps every product of sizes far from overflow.
const MAX_VIRTUAL_TOKENS: usize = 1 << 20;
/// No weight has a side near this.
const MAX_HIDDEN_SIZE: usize = 1 << 20;
/// Layers of an LSTM.
const MAX_ENCODER_LAYERS: usize = 64;

/// A configuration under PEFT's names.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptLearningConfig {
    /// What every method has.
    pub common: Common,
    /// Virtual tokens before each sequence.
    pub num_virtual_tokens: usize,
    /// Elements of a virtual token: of its embedding, or of its keys in one block. `None` takes the model's.
    pub token_dim: Option<usize>,
    /// Blocks of the model; `None` takes the model's.
    pub num_layers: Option<usize>,
    /// Heads of the model, of the keys for a prefix; `None` takes the model's.
    pub num_attention_heads: Option<usize>,
    /// Two for an encoder with a decoder, one otherwise; `None` follows the task.
    pub num_transformer_submodules: Option<usize>,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Option<Vec<String>>,
    /// What is trained, and how it starts.
    pub method: PromptMethod,
}

/// What is trained of the virtual tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum PromptMethod {
    /// Their embeddings.
    PromptTuning(PromptTuning),
    /// Their keys and values in every block.
    PrefixTuning(PrefixTuning),
    /// Their embeddings, through an encoder.
    PTuning(PTuning),
}

/// Where the embeddings of prompt tuning start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromptTuningInit {
    /// Standard normal, as `nn.Embedding` does.
    #[default]
    Random,
    /// The embeddings of random tokens.
    SampleVocab,
    /// The embeddings of a text's tokens, repeated or cut to the number of virtual tokens.
    Text,
}

/// Prompt tuning's own keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptTuning {
    /// Where the embeddings start.
    pub prompt_tuning_init: PromptTuningInit,
    /// The text of [`PromptTuningInit::Text`].
    pub prompt_tuning_init_text: Option<String>,
    /// Its tokens, which whoever has the tokenizer fills in. They are not in the file.
    pub init_token_ids: Vec<u32>,
    /// Where PEFT finds the tokenizer for it.
    pub tokenizer_name_or_path: Option<String>,
    /// What PEFT gives to the tokenizer.
    pub tokenizer_kwargs: Option<Value>,
}

/// How the values of prefix tuning start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitWeights {
    /// Zeros: keys that score 0 and values that add nothing.
    Zero,
}

/// Prefix tuning's own keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrefixTuning {
    /// Whether an MLP makes the keys and values out of embeddings.
    pub prefix_projection: bool,
    /// Width of the MLP; `None` takes `token_dim`.
    pub encoder_hidden_size: Option<usize>,
    /// `None` starts them as standard normal values, as `nn.Embedding` does.
    pub init_weights: Option<InitWeights>,
}

/// What the encoder of P-tuning is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncoderReparameterization {
    /// Three linear layers with ReLU between them.
    #[default]
    #[serde(rename = "MLP")]
    Mlp,
    /// A bidirectional LSTM, then two linear layers.
    #[serde(rename = "LSTM")]
    Lstm,
}

/// P-tuning's own keys.
#[derive(Clone, Debug, PartialEq)]
pub struct PTuning {
    /// What the encoder is.
    pub encoder_reparameterization_type: EncoderReparameterization,
    /// Its width; `None` takes `token_dim`.
    pub encoder_hidden_size: Option<usize>,
    /// Layers of an LSTM. An MLP has three whatever this says, as in PEFT.
    pub encoder_num_layers: usize,
    /// Dropout between the layers of an LSTM. An MLP has none, as in PEFT.
    pub encoder_dropout: f64,
}

impl Default for PTuning {
    fn default() -> Self {
        Self {
            encoder_reparameterization_type: EncoderReparameterization::Mlp,
            encoder_hidden_size: None,
            encoder_num_layers: 2,
            encoder_dropout: 0.0,
        }
    }
}

impl PromptMethod {
    /// PEFT's name of the method.
    pub fn peft_type(&self) -> &'static str {
        match self {
            PromptMethod::PromptTuning(_) => PromptLearningConfig::PROMPT_TUNING,
            PromptMethod::PrefixTuning(_) => PromptLearningConfig::PREFIX_TUNING,
            PromptMethod::PTuning(_) => PromptLearningConfig::P_TUNING,
        }
    }

    /// Whether virtual tokens are keys and values, and no rows of input.
    pub fn is_prefix(&self) -> bool {
        matches!(self, PromptMethod::PrefixTuning(_))
    }
}

impl PromptLearningConfig {
    /// PEFT's name of prompt tuning.
    pub const PROMPT_TUNING: &'static str = "PROMPT_TUNING";
    /// PEFT's name of prefix tuning.
    pub const PREFIX_TUNING: &'static str = "PREFIX_TUNING";
    /// PEFT's name of P-tuning.
    pub const P_TUNING: &'static str = "P_TUNING";

    /// `num_virtual_tokens` of them, trained by `method`, for any model.
    pub fn new(num_virtual_tokens: usize, method: PromptMethod) -> Self {
        Self {
            common: Common::default(),
            num_virtual_tokens,
            token_dim: None,
            num_layers: None,
            num_attention_heads: None,
            num_transformer_submodules: None,
            modules_to_save: None,
            method,
        }
    }

    /// Rows that are put before the embeddings of each sequence: none by a prefix.
    pub fn prompt_len(&self) -> usize {
        match self.method {
            PromptMethod::PromptTuning(_) | PromptMethod::PTuning(_) => self.num_virtual_tokens,
            PromptMethod::PrefixTuning(_) => 0,
        }
    }

    /// The configuration with what is trained and saved beside virtual tokens on `base`: the head of a classifier, and what
    /// the base's files do not have, which a warning says.
    pub fn with_heads(mut self, base: &Base) -> (Self, Warnings) {
        modules_to_save::add_heads(&mut self.modules_to_save, self.common.task_type);
        let warnings = modules_to_save::add_new(&mut self.modules_to_save, base);
        (self, warnings)
    }

    /// Reads what is left in `fields` after `peft_type`, which was `method`'s.
    pub(crate) fn read(mut fields: Fields, method: PromptMethod) -> Result<(Self, Warnings), PeftError> {
        let method = match method {
            PromptMethod::PromptTuning(_) => PromptMethod::PromptTuning(PromptTuning {
                prompt_tuning_init: fields.take("prompt_tuning_init")?.unwrap_or_default(),
                prompt_tuning_init_text: fields.take("prompt_tuning_init_text")?,
                init_token_ids: Vec::new(),
                tokenizer_name_or_path: fields.take("tokenizer_name_or_path")?,
                tokenizer_kwargs: fields.take("tokenizer_kwargs")?,
            }),
            PromptMethod::PrefixTuning(_) => PromptMethod::PrefixTuning(PrefixTuning {
                prefix_projection: fields.take("prefix_projection")?.unwrap_or_default(),
                encoder_hidden_size: fields.take("encoder_hidden_size")?,
                init_weights: fields.take("init_weights")?,
            }),
            PromptMethod::PTuning(default) => PromptMethod::PTuning(PTuning {
                encoder_reparameterization_type: fields.take("encoder_reparameterization_type")?.unwrap_or_default(),
                encoder_hidden_size: fields.take("encoder_hidden_size")?,
                encoder_num_layers: fields.take("encoder_num_layers")?.unwrap_or(default.encoder_num_layers),
                encoder_dropout: fields.take("encoder_dropout")?.unwrap_or(default.encoder_dropout),
            }),
        };
        let num_virtual_tokens: Option<usize> = fields.take("num_virtual_tokens")?;
        let config = Self {
            common: Common::read(&mut fields)?,
            num_virtual_tokens: num_virtual_tokens.ok_or_else(|| fields.wrong("num_virtual_tokens", "is missing"))?,
            token_dim: fields.take("token_dim")?,
            num_layers: fields.take("num_layers")?,
            num_attention_heads: fields.take("num_attention_heads")?,
            num_transformer_submodules: fields.take("num_transformer_submodules")?,
            modules_to_save: fields.take("modules_to_save")?,
            method,
        };
        config.check().map_err(|(key, reason)| fields.wrong(key, reason))?;
        Ok((config, fields.finish()))
    }

    /// Checks that every value can be used: the key that is wrong, and why.
    ///
    /// # Errors
    /// The first key whose value cannot be used, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        within("num_virtual_tokens", self.num_virtual_tokens, MAX_VIRTUAL_TOKENS)?;
        if let Some(submodules) = self.num_transformer_submodules {
            within("num_transformer_submodules", submodules, 2)?;
        }
        if let Some(size) = self.encoder_hidden_size() {
            within("encoder_hidden_size", size, MAX_HIDDEN_SIZE)?;
        }
        match &self.method {
            PromptMethod::PTuning(PTuning { encoder_num_layers, encoder_dropout, .. }) => {
                within("encoder_num_layers", *encoder_num_layers, MAX_ENCODER_LAYERS)?;
                match (0.0..1.0).contains(encoder_dropout) {
                    true => Ok(()),
                    false => Err(("encoder_dropout", format!("expected 0 <= dropout < 1, got {encoder_dropout}"))),
                }
            }
            PromptMethod::PromptTuning(_) | PromptMethod::PrefixTuning(_) => Ok(()),
        }
    }

    fn encoder_hidden_size(&self) -> Option<usize> {
        match &self.method {
            PromptMethod::PromptTuning(_) => None,
            PromptMethod::PrefixTuning(prefix) => prefix.encoder_hidden_size,
            PromptMethod::PTuning(p_tuning) => p_tuning.encoder_hidden_size,
        }
    }

    /// The file's object.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, self.method.peft_type());
        let mut put = |key: &str, value: Value| json.insert(key.to_owned(), value);
        put("num_virtual_tokens", json!(self.num_virtual_tokens));
        put("token_dim", json!(self.token_dim));
        put("num_layers", json!(self.num_layers));
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_transformer_submodules", json!(self.num_transformer_submodules));
        if let Some(names) = self.modules_to_save.as_ref().filter(|names| !names.is_empty()) {
            put("modules_to_save", json!(names));
        }
        match &self.method {
            PromptMethod::PromptTuning(prompt) => {
                put("prompt_tuning_init", json!(prompt.prompt_tuning_init));
                put("prompt_tuning_init_text", json!(prompt.prompt_tuning_init_text));
                put("tokenizer_name_or_path", json!(prompt.tokenizer_name_or_path));
                put("tokenizer_kwargs", json!(prompt.tokenizer_kwargs));
            }
            PromptMethod::PrefixTuning(prefix) => {
                put("prefix_projection", json!(prefix.prefix_projection));
                put("encoder_hidden_size", json!(prefix.encoder_hidden_size));
                if let Some(init) = prefix.init_weights {
                    put("init_weights", json!(init));
                }
            }
            PromptMethod::PTuning(p_tuning) => {
                put("encoder_reparameterization_type", json!(p_tuning.encoder_reparameterization_type));
                put("encoder_hidden_size", json!(p_tuning.encoder_hidden_size));
                put("encoder_num_layers", json!(p_tuning.encoder_num_layers));
                put("encoder_dropout", json!(p_tuning.encoder_dropout));
            }
        }
        Value::Object(json)
    }
}

fn within(key: &'static str, value: usize, most: usize) -> Result<(), (&'static str, String)> {
    match (1..=most).contains(&value) {
        true => Ok(()),
        false => Err((key, format!("must be at least 1 and at most {most}, got {value}"))),
    }
}
