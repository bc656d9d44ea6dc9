//! Commands that make an adapter, or a model with one, of others.

use std::path::PathBuf;

use clap::Args;
use peft::formats::Format;

use super::StorageArgs;

/// `merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// The base model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The adapter to merge.
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// How the base was held when the adapter was trained: its dequantized weights are what is merged.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Where to write the merged model.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `combine`.
#[derive(Args, Debug)]
pub struct CombineArgs {
    /// A LoRA adapter; repeated for each.
    #[arg(long = "adapter", value_name = "DIR", required = true)]
    pub adapters: Vec<PathBuf>,
    /// A weight for each adapter, separated by commas; 1 for all if left out.
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true)]
    pub weights: Vec<f32>,
    /// How: cat, svd, linear, ties, dare_linear, dare_ties, magnitude_prune, or one of the last four with _svd.
    #[arg(long = "type", value_name = "TYPE", default_value = "cat")]
    pub combination_type: String,
    /// Rank of the result with an SVD; the largest of the adapters' if left out.
    #[arg(long)]
    pub svd_rank: Option<usize>,
    /// Share of the values to keep, from 0 to 1, for the types that thin out.
    #[arg(long, allow_negative_numbers = true)]
    pub density: Option<f64>,
    /// Let the sign prevail that more values have, and not that of their sum.
    #[arg(long)]
    pub majority_by_frequency: bool,
    /// Combine adapters whose files name different base models.
    #[arg(long)]
    pub any_base: bool,
    /// Seed of what is dropped at random.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where to write the combined adapter.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `convert`.
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// The adapter: a directory in the format of PEFT, AdapterHub or MLX, or a GGUF file.
    pub adapter: PathBuf,
    /// The format to write: peft, adapterhub, mlx or gguf.
    #[arg(long, value_name = "FORMAT")]
    pub to: Format,
    /// Its base model, whose modules some formats have other names for. Only the headers of its files are read.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// What AdapterHub calls the adapter, and its title in a GGUF file.
    #[arg(long, default_value = "adapter")]
    pub name: String,
    /// Where to write it: a directory, also for the one file of gguf.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `extract`.
#[derive(Args, Debug)]
pub struct ExtractArgs {
    /// The model before fine-tuning.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The model after fine-tuning.
    #[arg(long, value_name = "DIR")]
    pub tuned: PathBuf,
    /// Rank of the adapter.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub rank: u32,
    /// The modules, by ends of their names, separated by commas; all-linear means every linear module but the head.
    #[arg(long, value_delimiter = ',', default_value = "all-linear")]
    pub target_modules: Vec<String>,
    /// Seed of the random vectors that decompose large weights.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where to write the adapter.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `bake`.
#[derive(Args, Debug)]
pub struct BakeArgs {
    /// The base model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The soft prompt, of prompt tuning or P-tuning.
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// Where to write the model.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}
