//! Everything that ends a command early.

use std::path::PathBuf;

use adamw::AdamWError;
use checkpoint::{CheckpointError, Dtype, Quoted};
use data::DataError;
use device::DeviceError;
use model::ModelError;
use peft::PeftError;
use tensor::TensorError;

use crate::config::{ConfigError, warmup_reason};
use crate::run::OutputError;
use crate::units::Bytes;

/// Errors of the program. Messages name the file and the key, line or tensor, and say what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings are wrong by themselves.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The warm-up is longer than the run turns out to be.
    #[error("{}", warmup_reason(*.warmup_steps, *.max_steps))]
    WarmupTooLong {
        /// As set.
        warmup_steps: u64,
        /// Of the run.
        max_steps: u64,
    },
    /// Padding would change what the model computes.
    #[error(
        "data.pad_to_multiple_of: the rotations of this model, of rope_type \"dynamic\" or \"longrope\", depend on the length of \
         a row, padding included: leave it out"
    )]
    PaddingFollowed,
    /// A row has more tokens than the model has positions.
    #[error(
        "{} has a row of {longest} tokens; the model has learned {positions} positions, of which {} are left for a row{}",
        .path.display(),
        .positions.saturating_sub(*.virtual_tokens),
        room(*.positions, *.virtual_tokens)
    )]
    RowTooLong {
        /// The rows.
        path: PathBuf,
        /// Tokens of the longest.
        longest: usize,
        /// Positions of the model.
        positions: usize,
        /// Those that virtual tokens take.
        virtual_tokens: usize,
    },
    /// The base is quantized.
    #[error("{} is quantized, and quantized weights cannot be trained; name another model or adapter.method", .dir.display())]
    FullQuantized {
        /// The model.
        dir: PathBuf,
    },
    /// One class is nothing to tell apart.
    #[error("{}: every label is {}; rows of at least two classes are needed", .path.display(), Quoted(.label))]
    OneClass {
        /// The rows.
        path: PathBuf,
        /// The class.
        label: String,
    },
    /// A model of images with more or fewer colors.
    #[error("{}: its images have {channels} channels, and files of images are read as three; name a model of RGB images", .dir.display())]
    Channels {
        /// The model.
        dir: PathBuf,
        /// As its configuration says.
        channels: usize,
    },
    /// Full fine-tuning cannot start from an adapter.
    #[error(
        "adapter.init_from goes on from an adapter, and adapter.method = \"full\" has none; set model.path to the model to \
         go on from"
    )]
    FullFromAdapter,
    /// The adapter to go on from is of another method.
    #[error("adapter.init_from: {} is no {method} adapter; name one, or change adapter.method", .dir.display())]
    OtherMethod {
        /// The adapter.
        dir: PathBuf,
        /// What is trained.
        method: crate::config::Method,
    },
    /// The rows name another number of classes than the config.
    #[error(
        "model.num_labels is {num_labels}, but the rows of {} name {} classes: {}; leave it out, or correct the rows",
        .path.display(),
        .names.len(),
        .names.join(", ")
    )]
    NumLabels {
        /// The rows.
        path: PathBuf,
        /// As configured.
        num_labels: usize,
        /// The classes.
        names: Vec<String>,
    },
    /// A model to quantize that is quantized already.
    #[error("{} is quantized already; name the model that it was made of", .dir.display())]
    Quantized {
        /// The model.
        dir: PathBuf,
    },
    /// The model continues no text.
    #[error("{}: a {model_type} model does not continue a text; name a language model", .dir.display())]
    NoLanguageModel {
        /// The model.
        dir: PathBuf,
        /// What it is.
        model_type: &'static str,
    },
    /// Keys are set to something else than the adapter to go on from has.
    #[error(
        "{} and the config disagree; remove the keys:{}",
        .dir.display(), .differences.iter().map(|line| format!("\n  {line}")).collect::<String>()
    )]
    OtherStructure {
        /// The adapter.
        dir: PathBuf,
        /// One line each, with both values.
        differences: Vec<String>,
    },
    /// A number of the command line outside its range.
    #[error("{flag} must be {expected}, got {got}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its range in words.
        expected: &'static str,
        /// As given.
        got: f32,
    },
    /// Adapters and weights that are not as many.
    #[error("{weights} weights are given for {adapters} adapters; give one for each, or none")]
    Weights {
        /// How many are given.
        weights: usize,
        /// For how many.
        adapters: usize,
    },
    /// A file of labels without labels.
    #[error("{}: `id2label` is missing; write the classes there, or remove the file", .path.display())]
    NoLabels {
        /// The file.
        path: PathBuf,
    },
    /// A configuration and files that do not agree on whether the weights are quantized.
    #[error("{}: {reason}", .path.display())]
    Quantization {
        /// The model's configuration.
        path: PathBuf,
        /// What does not agree, and what to do.
        reason: &'static str,
    },
    /// Adapters of different base models.
    #[error(
        "{} is an adapter of {}, and {} of {}; adapters of one base can be combined: give --any-base if it is the same model \
         under two names", .first.display(), Quoted(.first_base), .second.display(), Quoted(.second_base)
    )]
    OtherBases {
        /// The first adapter.
        first: PathBuf,
        /// Its base.
        first_base: String,
        /// Another.
        second: PathBuf,
        /// Its base.
        second_base: String,
    },
    /// A conversation is asked for, and the model does not say how one is written.
    #[error("{} has no chat template, which --chat needs; leave --chat out, or write chat_template.jinja there", .dir.display())]
    NoTemplate {
        /// The model.
        dir: PathBuf,
    },
    /// A value that the type it is stored in cannot hold.
    #[error(
        "tensor {} would not be finite as {dtype} at element {element}, and is not written: look at the scaling of the adapter, \
         or store the base in a wider type",
        Quoted(.tensor)
    )]
    TooLarge {
        /// Of the model that was to be written.
        tensor: String,
        /// Where, in row-major order.
        element: usize,
        /// As in the base.
        dtype: Dtype,
    },
    /// A flag that does nothing with another.
    #[error("{flag} does nothing {with}; leave it out")]
    FlagWithoutEffect {
        /// The flag.
        flag: &'static str,
        /// With what, in words.
        with: String,
    },
    /// An adapter that cannot be made a part of the vocabulary.
    #[error("{} cannot be baked: {reason}", .dir.display())]
    NotBakeable {
        /// The adapter.
        dir: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A tokenizer that cannot take more tokens.
    #[error("{}: {reason}", .path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two models that differ in more than their values.
    #[error("{} and {}: {reason}; both have to be the same model before and after fine-tuning", .base.display(), .tuned.display())]
    OtherArchitecture {
        /// The one.
        base: PathBuf,
        /// The other.
        tuned: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Two models with the same weights.
    #[error("{} and {} have the same weights in every module that is meant; there is nothing to extract", .base.display(), .tuned.display())]
    SameWeights {
        /// The one.
        base: PathBuf,
        /// The other.
        tuned: PathBuf,
    },
    /// An adapter on the command line that cannot be told from another.
    #[error("--adapter {}: {reason}", Quoted(.name))]
    AdapterName {
        /// As given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Adapters for different tasks.
    #[error("the adapters {} and {} are for different tasks or classes; give them one at a time", Quoted(.first), Quoted(.second))]
    OtherPurpose {
        /// One.
        first: String,
        /// Another.
        second: String,
    },
    /// An adapter of a method that cannot be combined.
    #[error("{} is no LoRA adapter; only these can be combined", .dir.display())]
    NotLora {
        /// The adapter.
        dir: PathBuf,
    },
    /// A prompt that encodes to nothing, for a model without a token that begins a text.
    #[error("the prompt {} has no tokens; give a text", Quoted(.prompt))]
    EmptyPrompt {
        /// As given.
        prompt: String,
    },
    /// One of several prompts.
    #[error("prompt {}: {source}", .index + 1)]
    Prompt {
        /// From 0.
        index: usize,
        /// What is wrong with it, or with what the model makes of it.
        source: Box<Error>,
    },
    /// The prompts that are continued for the report of a run.
    #[error("training.sample_prompts: {0}")]
    SamplePrompts(#[source] Box<Error>),
    /// A prompt in a file.
    #[error("{}:{line}: {source}", .path.display())]
    PromptOfFile {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it, or with what the model makes of it.
        source: Box<Error>,
    },
    /// A head that is in no file, and would be written as it was drawn.
    #[error(
        "neither {} nor {} has {}, which would be written with random values; name an adapter that was trained with its head, or \
         the model that has it", .model.display(), .adapter.display(), .missing.join(", ")
    )]
    NoHead {
        /// The model.
        model: PathBuf,
        /// The adapter.
        adapter: PathBuf,
        /// Parameters of the head.
        missing: Vec<String>,
    },
    /// The settings have no TOML form.
    #[error("the settings cannot be written as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
    /// The output directory cannot be used.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Something could not be written.
    #[error("{0}; what was saved before is untouched")]
    Save(#[source] CheckpointError),
    /// A file cannot be read or is wrong.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The rows, the tokenizer or the chat template are wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model is wrong.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The adapter is wrong.
    #[error(transparent)]
    Peft(Box<PeftError>),
    /// An op failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The optimizer refused its arguments.
    #[error(transparent)]
    AdamW(#[from] AdamWError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The plan needs more memory than there is.
    #[error(
        "this run needs about {} ({} of it {largest_item}) and {} are available; {remedy}",
        Bytes(*.needed_bytes), Bytes(*.item_bytes), Bytes(*.available_bytes)
    )]
    WillNotFit {
        /// By the plan.
        needed_bytes: u64,
        /// The item of the plan that takes most.
        largest_item: &'static str,
        /// How much.
        item_bytes: u64,
        /// Of this machine or its control group.
        available_bytes: u64,
        /// What would make it fit.
        remedy: String,
    },
    /// The loss or the gradients are no longer numbers.
    #[error(
        "training diverged at step {step}: the {what} is {value}; {kept}. Lower training.learning_rate, or look at the \
         rows of that step"
    )]
    Diverged {
        /// From 1.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// NaN or an infinity.
        value: f32,
        /// What the output directory holds.
        kept: String,
    },
    /// A model whose weights are finite and whose logits are not.
    #[error(
        "the model computes no finite numbers; its activations overflow: look at the adapter and at the model's dtype"
    )]
    NotANumber,
    /// The result could not be told.
    #[error("the result cannot be written to stdout: {0}")]
    Stdout(std::io::Error),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// What to lower where rows and virtual tokens do not fit into the positions of a model.
fn room(positions: usize, virtual_tokens: usize) -> String {
    match positions.saturating_sub(virtual_tokens) {
        0 => format!("; set adapter.num_virtual_tokens, {virtual_tokens}, well below {positions}"),
        left if virtual_tokens > 0 => {
            format!("; set data.max_length to at most {left}, or lower adapter.num_virtual_tokens")
        }
        left => format!("; set data.max_length to at most {left}"),
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<PeftError> for Error {
    fn from(error: PeftError) -> Self {
        Self::Peft(Box::new(error))
    }
}

/// `error` while an adapter was written: what the file system refuses is [`Error::Save`]. What was read meanwhile may be wrong too.
pub(crate) fn while_saving(error: PeftError) -> Error {
    use CheckpointError::{Io, NotAFile, Unwritable};
    match error {
        PeftError::Checkpoint(error @ (Io { .. } | NotAFile { .. } | Unwritable { .. })) => Error::Save(error),
        error => error.into(),
    }
}

/// An error while something is written: what the file system refuses is [`Error::Save`].
pub(crate) struct Saving(pub(crate) Box<Error>);

impl From<CheckpointError> for Saving {
    fn from(error: CheckpointError) -> Self {
        Self(Box::new(Error::Save(error)))
    }
}

impl From<Error> for Saving {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_system_refuses_is_a_fault_of_the_output() {
        let path = PathBuf::from("a");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let refused = CheckpointError::Io { action: "write", path: path.clone(), source: full };
        let broken = CheckpointError::NotFloat { path, tensor: "t".to_owned(), dtype: Dtype::I32 };
        let code = |error: CheckpointError| while_saving(error.into()).exit_code();
        assert_eq!((code(refused), code(broken)), (1, 3));
    }
}
