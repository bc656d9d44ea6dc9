//! AdaLoRA: low-rank updates in the form of a singular value decomposition, `y = W x + b + s B (E * (A dropout(x)))` with
//! `s = alpha / (init_r + 1e-5)`, whose ranks are distributed over the modules while they are trained.
//!
//! The loss of a step has a penalty that keeps A and B near orthogonal, `orth_reg_weight` times the mean over all A and B of
//! `|A A^T - I|_F` and `|B^T B - I|_F`. After each step the importance of every singular value is estimated, and those that
//! the budget of the step leaves out are set to zero: `allocator`.
//!
//! Source: Zhang et al. 2023, "Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning" (AdaLoRA).
//!
//! | parameter | key in the file | shape | starts as |
//! |---|---|---|---|
//! | A | `lora_A` | `[rank, in]` | normal, 0.02 |
//! | E | `lora_E` | `[rank, 1]` | zero |
//! | B | `lora_B` | `[out, rank]` | normal, 0.02 |
//! | bias of an adapted module | `base_layer.bias` | `[out]` | the base's |
//! | other biases, `modules_to_save` | their own names | their own | the base's values |
//!
//! While it is trained every module has `init_r` singular values. A file has those that are left, and `rank_pattern` of its
//! configuration says which they were. An adapter that is read from such a file has their number for good: training it on
//! distributes nothing, which PEFT cannot do at all.

mod adapter;
mod allocator;
mod attach;
mod config;
mod default_modules;
mod plan;
mod saved;

use model::Modules;
use tensor::{Parameters, Tensor};

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

use allocator::Allocator;

pub use attach::trainable;
pub use config::{AdaLoraConfig, RankPattern};
pub use default_modules::adalora_modules;

/// An AdaLoRA adapter attached to a model.
pub struct AdaLora {
    config: AdaLoraConfig,
    fan_in_fan_out: bool,
    modules: Modules,
    parameters: Parameters,
    /// What is added to each module, by its number.
    sites: Vec<Option<Site>>,
    stand_ins: StandIns,
    /// Tensors of the file that are no module's A, E and B.
    saved: Vec<SavedTensor>,
    /// Distributes ranks; `None` where a file says how they are distributed.
    allocator: Option<Allocator>,
}

/// What is added to one module.
#[derive(Clone)]
struct Site {
    /// `[rank, in]`.
    lora_a: Leaf,
    /// `[rank, 1]`.
    lora_e: Leaf,
    /// `[out, rank]`.
    lora_b: Leaf,
}

/// A trainable value and its position among all.
#[derive(Clone)]
struct Leaf {
    index: usize,
    tensor: Tensor,
}

impl AdaLora {
    /// The configuration, `target_modules` as they are saved.
    pub fn config(&self) -> &AdaLoraConfig {
        &self.config
    }
}

/// The name of a module in `rank_pattern`.
fn pattern_key(path: &str) -> String {
    format!("{path}.lora_E")
}
