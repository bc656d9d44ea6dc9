//! What a configuration means in a model: sizes, and which parameters of the base are trained.

use model::{Dimensions, Modules, ParameterId};

use super::encoder::EncoderSpec;
use super::{EncoderReparameterization, PromptLearningConfig, PromptMethod};
use crate::config::TaskType;
use crate::{PeftError, Warnings, modules_to_save};

/// A configuration applied to a model.
#[derive(Clone)]
pub(super) struct Plan {
    /// With the sizes of the model.
    pub(super) config: PromptLearningConfig,
    pub(super) place: Place,
    pub(super) encoder: EncoderSpec,
    /// `modules_to_save`, in model order.
    pub(super) trained: Vec<ParameterId>,
    /// What was configured and means nothing.
    pub(super) warnings: Warnings,
}

/// Where the virtual tokens come in, and the sizes of `prompt_embeddings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the embeddings: the first `num_virtual_tokens` of `rows`. An encoder with a decoder has twice the rows, and
    /// those of the decoder are saved and never used, as in PEFT.
    Prompt { num_virtual_tokens: usize, rows: usize, hidden_size: usize },
    /// Before the keys and values of every block: `slots` times `token_dim` columns. Where an encoder and a decoder share
    /// the prefix, PEFT joins it with itself and splits it by four, so that every other block has the slots of the first.
    Prefix { num_virtual_tokens: usize, slots: usize, token_dim: usize, submodules: usize },
}

impl Place {
    /// Sizes of `prompt_embeddings`.
    pub(super) fn shape(&self) -> [usize; 2] {
        match *self {
            Place::Prompt { rows, hidden_size, .. } => [rows, hidden_size],
            Place::Prefix { num_virtual_tokens, slots, token_dim, .. } => [num_virtual_tokens, slots * token_dim],
        }
    }

    /// Virtual tokens before each sequence.
    pub(super) fn num_virtual_tokens(&self) -> usize {
        match *self {
            Place::Prompt { num_virtual_tokens, .. } | Place::Prefix { num_virtual_tokens, .. } => num_virtual_tokens,
        }
    }
}

impl Plan {
    pub(super) fn new(
        mut config: PromptLearningConfig,
        dimensions: &Dimensions,
        modules: &Modules,
    ) -> Result<Self, PeftError> {
        config.check().map_err(|(key, reason)| PeftError::Setting { key, reason })?;
        let heads = &dimensions.heads;
        let (own_dim, own_heads) = match config.method {
            PromptMethod::PrefixTuning(_) => (heads.key_value_size(), heads.num_key_value_heads),
            _ => (dimensions.hidden_size, heads.num_attention_heads),
        };
        let two = config.common.task_type == Some(TaskType::Seq2SeqLm);
        let token_dim = fill("token_dim", &mut config.token_dim, own_dim)?;
        let num_layers = fill("num_layers", &mut config.num_layers, dimensions.num_layers)?;
        fill("num_attention_heads", &mut config.num_attention_heads, own_heads)?;
        let own_submodules = match (&config.method, config.num_transformer_submodules) {
            // Only those of the encoder are used, and PEFT computes the same without the decoder's.
            (PromptMethod::PromptTuning(_) | PromptMethod::PTuning(_), Some(1)) => 1,
            _ => 1 + usize::from(two),
        };
        let submodules = fill("num_transformer_submodules", &mut config.num_transformer_submodules, own_submodules)?;
        let num_virtual_tokens = config.num_virtual_tokens;
        let mut warnings = Warnings::new();
        let (place, encoder) = match &mut config.method {
            PromptMethod::PromptTuning(_) => {
                let rows = num_virtual_tokens * submodules;
                (Place::Prompt { num_virtual_tokens, rows, hidden_size: token_dim }, EncoderSpec::Embedding)
            }
            PromptMethod::PTuning(own) => {
                let rows = num_virtual_tokens * submodules;
                let hidden_size = *own.encoder_hidden_size.get_or_insert(token_dim);
                let encoder = match own.encoder_reparameterization_type {
                    EncoderReparameterization::Mlp => {
                        if own.encoder_num_layers != 2 || own.encoder_dropout > 0.0 {
                            warnings.push(
                                "an MLP ignores `encoder_num_layers` and `encoder_dropout`, as in PEFT".to_owned(),
                            );
                        }
                        EncoderSpec::Mlp { hidden_size }
                    }
                    EncoderReparameterization::Lstm => {
                        EncoderSpec::Lstm { hidden_size, num_layers: own.encoder_num_layers }
                    }
                };
                (Place::Prompt { num_virtual_tokens, rows, hidden_size: token_dim }, encoder)
            }
            PromptMethod::PrefixTuning(own) => {
                let hidden_size = *own.encoder_hidden_size.get_or_insert(token_dim);
                let zero = own.init_weights.is_some();
                let encoder = match own.prefix_projection {
                    true => EncoderSpec::Projection { token_dim, hidden_size, zero },
                    false if zero => EncoderSpec::Zeros,
                    false => EncoderSpec::Embedding,
                };
                (Place::Prefix { num_virtual_tokens, slots: 2 * num_layers, token_dim, submodules }, encoder)
            }
        };
        let trained = modules_to_save::parameters(config.modules_to_save.as_deref().unwrap_or_default(), modules)?;
        Ok(Self { config, place, encoder, trained, warnings })
    }
}

impl Plan {
    /// The same, trained without an encoder.
    pub(super) fn without_encoder(self) -> Self {
        Self { encoder: EncoderSpec::Embedding, ..self }
    }
}

/// Sets what was left out to the model's own; what is set has to be that.
fn fill(key: &'static str, value: &mut Option<usize>, own: usize) -> Result<usize, PeftError> {
    match *value {
        Some(set) if set != own => {
            let reason = format!("is {set}, but {own} for this base model; the adapter belongs to another");
            Err(PeftError::Setting { key, reason })
        }
        _ => {
            *value = Some(own);
            Ok(own)
        }
    }
}
