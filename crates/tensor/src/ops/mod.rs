//! One op per file: gradient formula, forward, what is saved, backward, gradient check.

mod add;
mod checkpoint;
mod linear;
mod lora_linear;
mod reshape;
mod scale;
mod weighted_sum;

pub use add::add;
pub use checkpoint::checkpoint;
pub use linear::linear;
pub use lora_linear::{LoraOperands, lora_linear};
pub use reshape::reshape;
pub use scale::scale;
pub use weighted_sum::weighted_sum;
