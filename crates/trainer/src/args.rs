//! The command line.

mod adapters;
mod config;
mod files;
mod inference;
mod model;
mod run;

use clap::{Parser, Subcommand};

pub use adapters::{BakeArgs, CombineArgs, ConvertArgs, ExtractArgs, MergeArgs};
pub use config::ConfigArgs;
pub use files::{InspectArgs, QuantizeArgs};
pub use inference::{EmbedArgs, EvalArgs, GenerateArgs};
pub use model::{AdapterArg, ModelArgs, StorageArgs};
pub use run::{PlanArgs, QuickstartArgs, TrainArgs};

/// Fine-tune pretrained transformers by training a small set of extra parameters.
#[derive(Debug, Parser)]
#[command(name = "tunesmith", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 an output could not be written; 2 the command line or config is wrong; \
    3 an input file is wrong; 4 out of memory or will not fit; 5 device trouble; 6 training diverged (NaN or Inf); \
    130, 143 stopped by a signal after saving.";

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let the bundled tiny model learn a task with every method, and compare them in a table.
    Quickstart(QuickstartArgs),
    /// Fine-tune a model, or go on with a run that was stopped.
    Train(TrainArgs),
    /// Loss and accuracy of a model, with or without an adapter, on a file of rows.
    Eval(EvalArgs),
    /// A vector for each row: the mean of an encoder's last hidden states, or that of an image's class token.
    Embed(EmbedArgs),
    /// Continue a prompt.
    Generate(GenerateArgs),
    /// Write a model with an adapter's changes in its weights.
    Merge(MergeArgs),
    /// Make one LoRA adapter of several.
    Combine(CombineArgs),
    /// Write an adapter in the format of another program.
    Convert(ConvertArgs),
    /// Make a LoRA adapter of what fine-tuning changed in a model.
    Extract(ExtractArgs),
    /// Make a soft prompt a part of the vocabulary, so that any program can use it.
    Bake(BakeArgs),
    /// Write a model with its linear modules in bitsandbytes' 4-bit format.
    Quantize(QuantizeArgs),
    /// What would be trained and how much memory it takes; reads file headers only.
    Plan(PlanArgs),
    /// What a directory holds: a model or an adapter.
    Inspect(InspectArgs),
    /// What this machine and this build offer, what is missing, and why.
    Doctor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
