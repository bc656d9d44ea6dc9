//! What can be wrong with an adapter.

use std::path::PathBuf;

use checkpoint::{CheckpointError, Quoted};
use tensor::TensorError;

/// Errors of methods and their files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeftError {
    /// A configuration that is not JSON.
    #[error("{}:{}:{}: {source}", path.display(), source.line(), source.column())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: serde_json::Error,
    },
    /// A key of a configuration with a value that it cannot have.
    #[error("{}: `{key}`: {reason}", path.display())]
    ConfigKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Expected and got.
        reason: String,
    },
    /// A configuration that turns on what this program does not have.
    #[error("{}: `{key}` is {value}, which is not supported; without it the adapter would compute something else", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A method that this program does not have.
    #[error("{}: `peft_type` {} is not supported; supported is LORA", path.display(), Quoted(method))]
    UnknownMethod {
        /// The file.
        path: PathBuf,
        /// As named there.
        method: String,
    },
    /// A regular expression that cannot be used.
    #[error("`{key}`: the regular expression {} cannot be used: {reason}", Quoted(pattern))]
    Pattern {
        /// The key that holds it.
        key: &'static str,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No module of the model is meant.
    #[error("`target_modules` {} means no module of this model; names end in {available}", Quoted(target_modules))]
    NoTargets {
        /// As configured.
        target_modules: String,
        /// The last parts of the names of the model's modules.
        available: String,
    },
    /// `target_modules` was left out for a family that has no default.
    #[error(
        "there is no default `target_modules` for model_type {}; name them, or use \"all-linear\"",
        Quoted(model_type)
    )]
    NoDefaultTargets {
        /// The model's `model_type`.
        model_type: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An op failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
