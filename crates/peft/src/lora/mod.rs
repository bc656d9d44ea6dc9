//! Low-rank adaptation: `y = W x + b + s B (A dropout(x))` with `s = alpha / r`, or `alpha / sqrt(r)` (rsLoRA).
//!
//! Sources: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; Kalajdzievski 2023, "A Rank Stabilization
//! Scaling Factor for Fine-Tuning with LoRA".

mod config;

pub use config::{Bias, InitLoraWeights, LoraConfig};
