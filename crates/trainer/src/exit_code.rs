//! The exit code of the program for each error.

use adamw::AdamWError;
use checkpoint::CheckpointError;
use data::DataError;
use device::DeviceError;
use model::ModelError;
use peft::PeftError;
use tensor::TensorError;

use crate::Error;
use crate::internal::EXIT_INTERNAL;
use crate::run::OutputError;

/// An output could not be written.
const EXIT_OUTPUT: u8 = 1;
/// The command line or the config is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// An input file is wrong.
const EXIT_INPUT: u8 = 3;
/// Out of memory, or will not fit.
const EXIT_MEMORY: u8 = 4;
/// Device trouble.
const EXIT_DEVICE: u8 = 5;
/// Training diverged.
const EXIT_DIVERGED: u8 = 6;

impl Error {
    /// The exit code of the program that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_)
            | Error::WarmupTooLong { .. }
            | Error::PaddingFollowed
            | Error::RowTooLong { .. }
            | Error::FullQuantized { .. }
            | Error::FullFromAdapter
            | Error::OtherMethod { .. }
            | Error::NoLanguageModel { .. }
            | Error::Channels { .. }
            | Error::Quantized { .. }
            | Error::NumLabels { .. }
            | Error::OtherStructure { .. }
            | Error::Flag { .. }
            | Error::Weights { .. }
            | Error::EmptyPrompt { .. }
            | Error::OtherBases { .. }
            | Error::FlagWithoutEffect { .. }
            | Error::NotBakeable { .. }
            | Error::AdapterName { .. }
            | Error::OtherPurpose { .. }
            | Error::Toml(_) => EXIT_USAGE,
            Error::Prompt { source, .. } | Error::SamplePrompts(source) => source.exit_code(),
            Error::PromptOfFile { source, .. } => match source.exit_code() {
                EXIT_USAGE => EXIT_INPUT,
                code => code,
            },
            Error::Output(error) => of_output(error),
            Error::Save(_) | Error::Stdout(_) => EXIT_OUTPUT,
            Error::Checkpoint(error) => of_checkpoint(error),
            Error::Data(error) => of_data(error),
            Error::Model(error) => match error.as_ref() {
                ModelError::Checkpoint(error) => of_checkpoint(error),
                ModelError::Tensor(error) => of_tensor(error),
                _ => EXIT_INPUT,
            },
            Error::Peft(error) => match error.as_ref() {
                PeftError::Checkpoint(error) => of_checkpoint(error),
                PeftError::Tensor(error) => of_tensor(error),
                // Of a file they would be told with its name.
                PeftError::Setting { .. }
                | PeftError::NoTargets { .. }
                | PeftError::NoModuleToSave { .. }
                | PeftError::NoDefaultTargets { .. }
                | PeftError::Pattern { .. } => EXIT_USAGE,
                _ => EXIT_INPUT,
            },
            Error::Tensor(error) => of_tensor(error),
            Error::AdamW(AdamWError::Device(error)) => of_device(error),
            Error::AdamW(_) => EXIT_INTERNAL,
            Error::Device(error) => of_device(error),
            Error::WillNotFit { .. } => EXIT_MEMORY,
            Error::Diverged { .. } => EXIT_DIVERGED,
            Error::NotANumber
            | Error::NotLora { .. }
            | Error::OneClass { .. }
            | Error::NoHead { .. }
            | Error::NoLabels { .. }
            | Error::NoTemplate { .. }
            | Error::TooLarge { .. }
            | Error::Quantization { .. }
            | Error::TokenizerFile { .. }
            | Error::OtherArchitecture { .. }
            | Error::SameWeights { .. } => EXIT_INPUT,
            Error::Signals(_) => EXIT_DEVICE,
        }
    }

    /// Whether memory could not be had while running.
    pub fn is_out_of_memory(&self) -> bool {
        self.exit_code() == EXIT_MEMORY && !matches!(self, Error::WillNotFit { .. })
    }
}

fn of_output(error: &OutputError) -> u8 {
    match error {
        OutputError::Checkpoint(error) => of_checkpoint(error),
        OutputError::State { .. } | OutputError::Broken { .. } => EXIT_INPUT,
        _ => EXIT_USAGE,
    }
}

fn of_checkpoint(error: &CheckpointError) -> u8 {
    if matches!(error, CheckpointError::OutOfMemory { .. }) { EXIT_MEMORY } else { EXIT_INPUT }
}

fn of_data(error: &DataError) -> u8 {
    match error {
        DataError::File(error) => of_checkpoint(error),
        DataError::Setting { .. } => EXIT_USAGE,
        DataError::Cache { .. } => EXIT_OUTPUT,
        _ => EXIT_INPUT,
    }
}

fn of_tensor(error: &TensorError) -> u8 {
    match error {
        TensorError::Device(error) => of_device(error),
        TensorError::NoKernel { .. } => EXIT_DEVICE,
        // The shapes of an op are this program's business, not the user's.
        _ => EXIT_INTERNAL,
    }
}

fn of_device(error: &DeviceError) -> u8 {
    match error {
        DeviceError::OutOfMemory { .. } => EXIT_MEMORY,
        DeviceError::UnknownDevice { .. } => EXIT_USAGE,
        _ => EXIT_DEVICE,
    }
}
