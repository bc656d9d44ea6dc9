//! Vector-based random matrix adaptation: `y = W x + b + lambda_b * (B (lambda_d * (A dropout(x))))`, with random A and B that
//! are not trained and that all modules share.
//!
//! Source: Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation".
//!
//! | value | key in the file | shape | starts as |
//! |---|---|---|---|
//! | lambda_b, trained | `vera_lambda_b` | `[out]` | zero |
//! | lambda_d, trained | `vera_lambda_d` | `[r]` | `d_initial` |
//! | A, B, for all modules | `base_model.vera_A`, `base_model.vera_B` (`save_projection`) | `[r, max_in]`, `[max_out, r]` | drawn from `projection_prng_key` |
//! | bias of an adapted module | `base_layer.bias` | `[out]` | the base's |
//! | other biases, `modules_to_save` | their own names | their own | the base's values |
//!
//! A module takes the first columns of A and the first rows of B. Both are drawn by torch's generator, number for number, so
//! that an adapter without them (`save_projection = false`) means the same here and in Python.

mod adapter;
mod attach;
mod config;
mod plan;
mod projection;
mod torch_random;

use model::Modules;
use tensor::{Parameters, Tensor};

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

pub use attach::trainable;
pub use config::VeraConfig;

/// A VeRA adapter attached to a model.
pub struct Vera {
    config: VeraConfig,
    fan_in_fan_out: bool,
    modules: Modules,
    parameters: Parameters,
    /// What is added to each module, by its number.
    sites: Vec<Option<Site>>,
    stand_ins: StandIns,
    saved: Vec<SavedTensor>,
}

/// What is added to one module.
#[derive(Clone)]
struct Site {
    /// `[out]`.
    lambda_b: Tensor,
    /// `[r]`.
    lambda_d: Tensor,
    /// Its part of A, `[r, in]`.
    a: Tensor,
    /// Its part of B, `[out, r]`.
    b: Tensor,
}

impl Vera {
    /// The configuration, `target_modules` as they are saved.
    pub fn config(&self) -> &VeraConfig {
        &self.config
    }
}
