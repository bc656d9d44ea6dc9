//! Trainable tokens: some rows of an embedding are trained, by the numbers of their tokens.
//!
//! A token that is listed has the trained row in the place of its own. Where the output head shares the embedding's values,
//! its logit is computed with that row too. LoRA has the same under `trainable_token_indices`.
//!
//! | parameter | key in the file | shape | starts as |
//! |---|---|---|---|
//! | rows | `trainable_tokens_delta`; beside LoRA `token_adapter.trainable_tokens_delta` | `[num_tokens, dim]` | the base's rows |
//!
//! What PEFT calls a delta is the row itself. The method alone saves it once more for each module that shares it.

mod adapter;
mod attach;
mod config;
mod indices;
mod rows;

use model::Modules;
use tensor::Parameters;

use crate::method::SavedTensor;

pub use attach::trainable;
pub use config::TrainableTokensConfig;
pub(crate) use indices::PlannedRows;
pub use indices::TokenIndices;
pub(crate) use rows::{DeclaredTokenRows, TokenRows};

/// Trained rows of a model's embedding.
pub struct TrainableTokens {
    config: TrainableTokensConfig,
    modules: Modules,
    parameters: Parameters,
    rows: TokenRows,
    saved: Vec<SavedTensor>,
}

impl TrainableTokens {
    /// The configuration, `target_modules` as they are saved.
    pub fn config(&self) -> &TrainableTokensConfig {
        &self.config
    }
}
