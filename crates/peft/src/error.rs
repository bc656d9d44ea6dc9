//! What can be wrong with an adapter.

use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, Quoted};
use gemm::GemmError;
use model::ModelError;
use tensor::TensorError;

/// Errors of methods and their files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeftError {
    /// A configuration in a file that does not suit the model, or a tensor of a file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<PeftError>,
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
    /// A setting that cannot be used, or not together with another.
    #[error("`{key}`: {reason}")]
    Setting {
        /// Its key in a configuration.
        key: &'static str,
        /// Expected and got.
        reason: String,
    },
    /// A configuration that turns on what this program does not have.
    #[error("{}: `{key}` is {}, which is not supported; without it the adapter would compute something else", path.display(), Quoted(value))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A method that this program does not have.
    #[error("{}: `peft_type` {} is not supported; supported are {supported}", path.display(), Quoted(method))]
    UnknownMethod {
        /// The file.
        path: PathBuf,
        /// As named there.
        method: String,
        /// The methods that it has.
        supported: String,
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
    /// A module that the method cannot adapt.
    #[error("`target_modules` means {}, which is {kind}; {adaptable} can be adapted", Quoted(module))]
    UnsupportedTarget {
        /// Its name.
        module: String,
        /// What it is.
        kind: &'static str,
        /// What the method adapts.
        adaptable: &'static str,
    },
    /// `modules_to_save` names nothing of the model.
    #[error("`modules_to_save` names {}, which this model does not have", Quoted(name))]
    NoModuleToSave {
        /// As configured.
        name: String,
    },
    /// The keys of a file and those of the method differ.
    #[error("{}: {problems}; the adapter belongs to another base model or configuration", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Which.
        problems: Problems,
    },
    /// A Compacter adapter without the rule that its layers share.
    #[error(
        "{}: tensor {} is missing: AdapterHub leaves it out where a model is its own base, as T5 is, and without it the \
         adapter cannot be computed; save it in Python out of model.shared_parameters", path.display(), Quoted(key)
    )]
    NoSharedRule {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
    },
    /// A file that holds weights of a base model which is not this one.
    #[error("{}: tensor {} differs from the base model's own; the adapter belongs to another base model", path.display(), Quoted(tensor))]
    OtherBase {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A value that is not a number.
    #[error("tensor {} is not finite at element {element}; it is neither saved nor used", Quoted(tensor))]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// Where, in row-major order.
        element: usize,
    },
    /// A part of a method that the base has no place for.
    #[error("{} cannot be merged: {reason}", Quoted(module))]
    Unmergeable {
        /// The module.
        module: String,
        /// Why.
        reason: &'static str,
    },
    /// The matrices of a LoRA adapter's module that do not go together.
    #[error("{}: {} {reason}", dir.display(), Quoted(module))]
    Update {
        /// The adapter.
        dir: PathBuf,
        /// The module, or a tensor.
        module: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of another program that is not what it should be.
    #[error("{}: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Expected and got, and what to do.
        reason: String,
    },
    /// An adapter that says that it belongs to another base model.
    #[error("{}: the adapter is for a base model whose `{key}` is {}, and this one's is {}; name the model that it was trained on", path.display(), Quoted(adapter), Quoted(base))]
    OtherModel {
        /// The adapter's configuration.
        path: PathBuf,
        /// The key that tells.
        key: &'static str,
        /// As the adapter has it.
        adapter: String,
        /// As the base has it.
        base: String,
    },
    /// An adapter whose names mean nothing without its base.
    #[error("{}: the modules of {format} are named after the base model, which is not given; convert the adapter first: tunesmith convert {} --to peft --model DIR --output DIR", dir.display(), dir.display())]
    NeedsBase {
        /// The adapter.
        dir: PathBuf,
        /// What it is.
        format: &'static str,
    },
    /// An adapter with something that another format has no place for.
    #[error("{what} cannot be written as {format}: {reason}")]
    NotConvertible {
        /// A module or a setting.
        what: String,
        /// The other format.
        format: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// Adapters that cannot become one.
    #[error("the adapters cannot be combined: {} {reason}", Quoted(module))]
    Combination {
        /// The module, or a tensor.
        module: String,
        /// Why.
        reason: String,
    },
    /// The model refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A product failed.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// Reading or writing failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An op failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl PeftError {
    /// The same error of settings that the file `path` holds.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            PeftError::Setting { .. }
            | PeftError::Pattern { .. }
            | PeftError::NoTargets { .. }
            | PeftError::NoDefaultTargets { .. }
            | PeftError::UnsupportedTarget { .. }
            | PeftError::NoModuleToSave { .. }
            | PeftError::NonFinite { .. } => PeftError::InFile { path: path.to_owned(), source: Box::new(self) },
            // The others name their file, or are about none.
            other => other,
        }
    }
}

/// Keys that do not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// Keys that the file should have.
    pub missing: Vec<String>,
    /// Keys that mean nothing here.
    pub unexpected: Vec<String>,
    /// Keys with a shape, expected and got.
    pub misshapen: Vec<String>,
}

impl Problems {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Keys of one kind that a message shows.
        const SHOWN: usize = 5;
        let kinds = [("missing", &self.missing), ("unexpected", &self.unexpected), ("misshapen", &self.misshapen)];
        let mut separator = "";
        for (kind, keys) in kinds.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            write!(f, "{separator}{} {kind}:", keys.len())?;
            for key in keys.iter().take(SHOWN) {
                write!(f, " {}", Quoted(key))?;
            }
            if keys.len() > SHOWN {
                f.write_str(" ...")?;
            }
            separator = "; ";
        }
        Ok(())
    }
}
