//! LN tuning: the norms of a model are trained, and nothing else.
//!
//! `y = norm(x) * w + b` with trainable copies of `w` and, where the norm has one, `b`.
//!
//! Source: Zhao et al. 2023, "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning".
//!
//! | parameter | key in the file | shape | starts as |
//! |---|---|---|---|
//! | w, b | `ln_tuning_layers.weight`, `ln_tuning_layers.bias` | `[size]` | the base's values |
//! | `modules_to_save` | their own names | their own | the base's values |
//!
//! PEFT trains a copy of whatever `target_modules` means, norm or not, and so does this.

mod adapter;
mod attach;
mod config;
mod default_modules;

use model::Modules;
use tensor::Parameters;

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

pub use attach::trainable;
pub use config::LnTuningConfig;
pub use default_modules::ln_tuning_modules;

/// Trainable copies of a model's norms.
pub struct LnTuning {
    config: LnTuningConfig,
    modules: Modules,
    parameters: Parameters,
    stand_ins: StandIns,
    saved: Vec<SavedTensor>,
}

impl LnTuning {
    /// The configuration, `target_modules` as they are saved.
    pub fn config(&self) -> &LnTuningConfig {
        &self.config
    }
}
