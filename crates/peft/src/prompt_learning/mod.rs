//! Prompt learning: virtual tokens before every sequence, whose embeddings or whose keys and values are trained.
//!
//! | `peft_type` | trained | what the model sees | source |
//! |---|---|---|---|
//! | `PROMPT_TUNING` | P embeddings | P rows before the tokens' embeddings | Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning" |
//! | `P_TUNING` | P embeddings, and an MLP or LSTM over them | the same, of what the encoder makes of them | Liu et al. 2021, "GPT Understands, Too" |
//! | `PREFIX_TUNING` | keys and values of P tokens in every block | P keys and values before the tokens' own | Liu et al. 2022, "P-Tuning v2" |
//! | the same with `prefix_projection` | P embeddings, and an MLP over them | the same, of what the MLP makes of them | Li and Liang 2021, "Prefix-Tuning" |
//!
//! The tokens stand at positions P, P + 1, ... in all of them.
//!
//! | key in `adapter_model.safetensors` | shape |
//! |---|---|
//! | `prompt_embeddings` of prompts | `[P * num_transformer_submodules, hidden_size]` |
//! | `prompt_embeddings` of prefixes | `[P, num_layers * 2 * token_dim]`: keys and values of block 0, of block 1, ... |
//! | `base_model.` and the name of a parameter of `modules_to_save` | its own |
//!
//! PEFT's file holds what an encoder computed and not the encoder, so that training cannot go on from it. Here it lies
//! beside that file, in `encoder_state.safetensors`, under the names of PEFT's modules.

mod adapter;
mod attach;
mod config;
mod encoder;
mod plan;
mod restore;
mod skeleton;
mod start;

use std::sync::Arc;

use model::Modules;
use tensor::Parameters;

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

pub use attach::trainable;
pub use config::{
    EncoderReparameterization, InitWeights, PTuning, PrefixTuning, PromptLearningConfig, PromptMethod, PromptTuning,
    PromptTuningInit,
};

use encoder::Encoder;
use plan::Place;

/// Virtual tokens attached to a model.
pub struct PromptLearning {
    config: PromptLearningConfig,
    place: Place,
    encoder: Arc<dyn Encoder>,
    parameters: Parameters,
    stand_ins: StandIns,
    modules: Modules,
    saved: Vec<SavedTensor>,
    encoder_state: Vec<SavedTensor>,
}

impl PromptLearning {
    /// The configuration, sizes of the model filled in.
    pub fn config(&self) -> &PromptLearningConfig {
        &self.config
    }
}
