//! Low-rank adaptation: `y = W x + b + s B (A dropout(x))` with `s = alpha / r`, or `alpha / sqrt(r)` (rsLoRA).
//!
//! Where A and B start says [`InitLoraWeights`]; PiSSA and OLoRA start as a part of the weights, which is taken out of the base
//! and saved as what the adapter adds to the base as it was.
//!
//! Sources: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; Kalajdzievski 2023, "A Rank Stabilization
//! Scaling Factor for Fine-Tuning with LoRA".
//!
//! | parameter | key in the file | shape |
//! |---|---|---|
//! | A, B of a linear module | `lora_A.weight`, `lora_B.weight` | `[r, in]`, `[out, r]`, also where the base is GPT-2's transposed `Conv1D` |
//! | bias of B (`lora_bias`) | `lora_B.bias` | `[out]` |
//! | A, B of an embedding | `lora_embedding_A`, `lora_embedding_B` | `[r, vocab]`, `[dim, r]` |
//! | norms of the rows (`use_dora`) | `lora_magnitude_vector` | `[out]` |
//! | bias of an adapted module | `base_layer.bias` | `[out]` |
//! | rows of listed tokens (`trainable_token_indices`) | `token_adapter.trainable_tokens_delta` | `[num_tokens, dim]` |
//! | other biases, `modules_to_save` | their own names | their own |

mod adapter;
mod attach;
mod base_part;
mod config;
mod decompose;
mod dora;
mod merge;
mod plan;
mod skeleton;
mod start;

use std::sync::Arc;

use model::Modules;
use tensor::{Parameters, Tensor};

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;
use crate::trainable_tokens::TokenRows;

use base_part::BasePart;
use dora::Dora;

pub use attach::trainable;
pub(crate) use config::MAX_RANK;
pub use config::{Bias, InitLoraWeights, LoraConfig};

/// A LoRA adapter attached to a model.
pub struct Lora {
    config: LoraConfig,
    /// The configuration in its file, where that is another.
    saved_config: Option<LoraConfig>,
    fan_in_fan_out: bool,
    modules: Modules,
    parameters: Parameters,
    /// What is added to each module, by its number.
    sites: Vec<Option<Site>>,
    /// Biases and modules that are trained as they are.
    trained: StandIns,
    /// Rows of embeddings that are trained.
    rows: TokenRows,
    saved: Vec<SavedTensor>,
}

/// What is added to one module.
#[derive(Clone)]
struct Site {
    /// `[r, in]`; of an embedding `[vocab, r]`.
    lora_a: Tensor,
    /// `[out, r]`.
    lora_b: Tensor,
    lora_bias: Option<Tensor>,
    scaling: f32,
    dora: Option<Arc<Dora>>,
    /// What was taken out of the base and the adapter started as.
    base_part: Option<BasePart>,
}

impl Lora {
    /// The configuration, `target_modules` as they are saved.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Names of the adapted modules in model order.
    pub fn adapted(&self) -> impl Iterator<Item = &str> {
        let adapted = self.modules.iter().filter(|module| self.sites[module.id.index()].is_some());
        adapted.map(|module| module.path.as_str())
    }
}
