//! (IA)^3, infused adapter by inhibiting and amplifying inner activations: channels scaled by learned factors.
//!
//! `y = (W x + b) * l` where the outputs of a module are scaled, keys and values for example, and `y = W (x * l) + b` where
//! its inputs are, as those of the last projection of a feed-forward block.
//!
//! Source: Liu et al. 2022, "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning",
//! section 3.3.
//!
//! | parameter | key in the file | shape | starts as |
//! |---|---|---|---|
//! | l of outputs | `ia3_l` | `[out, 1]` | ones |
//! | l of inputs (`feedforward_modules`) | `ia3_l` | `[1, in]` | ones |
//! | `modules_to_save` | their own names | their own | the base's values |

mod adapter;
mod attach;
mod config;
mod default_modules;
mod merge;
mod plan;

use model::Modules;
use tensor::{Parameters, Tensor};

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

pub use attach::trainable;
pub use config::Ia3Config;
pub use default_modules::ia3_modules;

/// An (IA)^3 adapter attached to a model.
pub struct Ia3 {
    config: Ia3Config,
    fan_in_fan_out: bool,
    modules: Modules,
    parameters: Parameters,
    /// The factors of each module, by its number.
    sites: Vec<Option<Site>>,
    stand_ins: StandIns,
    saved: Vec<SavedTensor>,
}

/// The factors of one module.
#[derive(Clone)]
struct Site {
    ia3_l: Tensor,
    scales: Scales,
}

/// What the factors of a module scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scales {
    /// Its inputs, before the product.
    Inputs,
    /// Its outputs, bias included.
    Outputs,
}

impl Ia3 {
    /// The configuration, `target_modules` and `feedforward_modules` as they are saved.
    pub fn config(&self) -> &Ia3Config {
        &self.config
    }
}
