//! Parameter-efficient fine-tuning: one method a file, and PEFT's file format.
//!
//! | concept | here |
//! |---|---|
//! | `adapter_config.json` | [`AdapterConfig`], a struct a method: [`lora::LoraConfig`] |
//! | which modules a configuration means | [`targets`] |
//! | what a tensor is called in a file | [`names`] |
//! | where parameters start | [`init`] |

#![forbid(unsafe_code)]

mod config;
mod default_targets;
mod error;
mod fields;
pub mod init;
pub mod lora;
mod modules;
pub mod names;
pub mod python_json;
pub mod targets;

pub use config::{AdapterConfig, Common, TaskType};
pub use default_targets::lora_target_modules;
pub use error::PeftError;
pub use modules::{ModuleNames, OneOrMany};

/// What was read and left aside: a line each, for a log.
pub type Warnings = Vec<String>;
