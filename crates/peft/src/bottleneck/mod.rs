//! Bottleneck adapters: `y = h + s up(act(down(x)))`, small networks at the residual connections.
//!
//! Sources: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP"; Pfeiffer et al. 2020, "AdapterFusion";
//! He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer Learning" (parallel); Mahabadi et al. 2021,
//! "Compacter". Files, names and mathematics are those of AdapterHub's `adapters` 1.2.
//!
//! With `h` the output of attention or MLP, `r` the hidden states it is added to, and `norm` the block's norm of the sum
//! where it has one there (BERT):
//!
//! | | `x`, given to `down` | skipped connection | then |
//! |---|---|---|---|
//! | sequential (`is_parallel` false) | `h`; with `original_ln_before` `norm(h + r)` | `h`, or by `residual_before_ln`: `h + r` ("post_add"), `x` (false) | with `original_ln_after` `norm(y + r)` |
//! | parallel | what the part was given, before its norm | `h` | the same |
//!
//! | parameter, below `<module>.adapters.<name>` | shape |
//! |---|---|
//! | `adapter_down.0.weight`, `adapter_down.0.bias` | `[size, hidden]`, `[size]`; `size = hidden // reduction_factor` |
//! | `adapter_up.weight`, `adapter_up.bias` | `[hidden, size]`, `[hidden]` |
//! | with `phm_layer`, in the place of each weight: `W_left`, `W_right` and `b` | `[n, in / n, phm_rank]`, `[n, phm_rank, out / n]`, `[out]` |
//! | `phm_rule`, or one for all layers in `shared_parameters.<name>.phm_rule` | `[n, n, n]` with `n = phm_dim` |
//! | with `ln_after`: `adapter_norm_after.weight`, `.bias` | `[hidden]` |
//!
//! A classifier's head is trained with them and saved as AdapterHub does, in `model_head.safetensors`, under its own names.

mod adapter;
mod attach;
mod config;
mod json;
mod names;
mod plan;
mod presets;
mod skeleton;

use tensor::{Activation, Parameters, Result, Tensor, ops};

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

pub use attach::trainable;
pub use config::{BottleneckConfig, Init, ModelFacts, ReductionFactor, ResidualBeforeLn, RuleInit};

/// Bottleneck adapters attached to a model.
pub struct Bottleneck {
    config: BottleneckConfig,
    activation: Activation,
    parameters: Parameters,
    /// By the number of the residual connection.
    sites: Vec<Option<Site>>,
    saved: Vec<SavedTensor>,
    /// What is trained of the head.
    stand_ins: StandIns,
    /// In the file beside the adapter's.
    head: Vec<SavedTensor>,
}

/// The adapter at one residual connection.
struct Site {
    down: Projection,
    up: Projection,
    /// Weight and bias of the adapter's own norm.
    norm_after: Option<[Tensor; 2]>,
}

/// One of its two layers.
struct Projection {
    weight: ProjectionWeight,
    bias: Option<Tensor>,
}

/// A weight, `[out, in]`.
enum ProjectionWeight {
    Dense(Tensor),
    /// The factors that it is made of.
    Phm {
        rule: Tensor,
        left: Tensor,
        right: Tensor,
    },
}

impl ProjectionWeight {
    fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => Ok(weight.clone()),
            Self::Phm { rule, left, right } => ops::phm_weight(rule, left, right),
        }
    }
}

impl Bottleneck {
    /// The configuration, with what is saved about the model.
    pub fn config(&self) -> &BottleneckConfig {
        &self.config
    }
}
