//! Parameter-efficient fine-tuning: one method a file, and PEFT's file format.
//!
//! | concept | here |
//! |---|---|
//! | `adapter_config.json` | [`AdapterConfig`], a struct a method: [`lora::LoraConfig`], [`ia3::Ia3Config`], [`bottleneck::BottleneckConfig`], ... |
//! | which modules a configuration means | [`targets`] |
//! | what a tensor is called in a file | [`names`] |
//! | where parameters start | [`init`] |
//! | a method attached to a model | [`Method`]: [`lora::Lora`], [`ia3::Ia3`], [`bottleneck::Bottleneck`], [`prompt_learning::PromptLearning`], [`pixel_prompt::PixelPrompt`], [`ln_tuning::LnTuning`], [`vera::Vera`], [`adalora::AdaLora`], [`trainable_tokens::TrainableTokens`], [`Full`] |
//! | a new one, or one from a directory | [`attach`], [`open()`], [`restore`] |
//! | what one would train, before weights are read | [`trainable`] |
//! | its files | [`save()`], [`stage`], [`load()`] |
//! | several adapters as one | [`combine`] |
//! | one adapter for each sequence of a batch | [`PerSequence`] |
//! | the LoRA of two checkpoints | [`extract`] |
//! | what a LoRA adapter is in any file | [`updates`] |
//! | files of AdapterHub, MLX and llama.cpp | [`formats`] |
//! | a base with the method folded in | [`Method::merge`], [`breaks_ties`] |
//!
//! A method joins with a file or folder of its own: a configuration, a type that is a [`model::Adapter`] and a [`Method`],
//! and a line in [`AdapterConfig`] and [`attach`]. Files, loading, merging and checkpoints are then there.

#![forbid(unsafe_code)]

pub mod adalora;
mod base_copies;
pub mod bottleneck;
pub mod combine;
mod config;
mod declare;
mod default_targets;
mod error;
pub mod extract;
mod fields;
mod finite;
mod fold;
pub mod formats;
mod full;
pub mod ia3;
pub mod init;
pub mod ln_tuning;
mod load;
pub mod lora;
mod low_rank;
mod merged;
mod method;
mod modules;
mod modules_to_save;
pub mod names;
mod open;
mod per_sequence;
pub mod pixel_prompt;
pub mod prompt_learning;
pub mod python_json;
mod save;
mod stand_ins;
pub mod targets;
pub mod trainable_tokens;
pub mod updates;
pub mod vera;

pub use config::{AdapterConfig, Common, TaskType};
pub use default_targets::lora_target_modules;
pub use error::{PeftError, Problems};
pub use full::Full;
pub use load::load;
pub use merged::{breaks_ties, broken_ties};
pub use method::{Computed, Method, SavedTensor, Source};
pub use modules::{ModuleNames, OneOrMany};
pub use open::{attach, open, restore, trainable};
pub use per_sequence::PerSequence;
pub use save::{save, stage};

/// What was read and left aside: a line each, for a log.
pub type Warnings = Vec<String>;
