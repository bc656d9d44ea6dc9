//! The command line.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use device::Device;
use device::launch::Architecture;
use peft::formats::Format;

use crate::config::{BaseDType, DeviceChoice, Overrides, Quantization, WeightStorage};

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

/// Where a run's settings come from.
#[derive(Args, Debug, Default)]
pub struct ConfigArgs {
    /// The settings, a TOML file.
    pub config: Option<PathBuf>,
    /// One setting over the file's, for example training.learning_rate=1e-4. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The base model: model.path.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// The rows to train on: data.train.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// What is trained: adapter.method.
    #[arg(long)]
    pub method: Option<String>,
    /// Where to write: training.output_dir.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

impl ConfigArgs {
    /// What goes over the file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            model: self.model.clone(),
            data: self.data.clone(),
            method: self.method.clone(),
            output: self.output.clone(),
            set: self.set.clone(),
        }
    }
}

impl ValueEnum for BaseDType {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Float32, Self::BFloat16]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// `quickstart`.
#[derive(Args, Debug)]
pub struct QuickstartArgs {
    /// Where to put the model, the rows, the configs and the results.
    #[arg(long, value_name = "DIR", default_value = "out/quickstart")]
    pub output: PathBuf,
}

/// `train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// The settings.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the settings with every default and end.
    #[arg(long)]
    pub print_config: bool,
}

/// `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The settings.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Also list the kernels of one step on a GPU of this architecture, which need not be here: ampere (A100) or hopper
    /// (H100).
    #[arg(long, value_name = "ARCHITECTURE", num_args = 0..=1, default_missing_value = "hopper", value_parser = architecture)]
    pub kernels: Option<Architecture>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A model, perhaps with an adapter, and what computes it.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// The model, a directory in Hugging Face layout.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// An adapter over it: a directory in the format of PEFT, AdapterHub or MLX, or a GGUF file. It may be repeated, with
    /// names that rows choose from: --adapter law=out/law --adapter mail=out/mail.
    #[arg(long = "adapter", value_name = "[NAME=]DIR")]
    pub adapters: Vec<AdapterArg>,
    /// Where to compute: auto, cpu, cuda, cuda:N or emulated.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// What the base computes with; auto is as in its files.
    #[arg(long, default_value = "auto")]
    pub dtype: BaseDType,
    /// How the base is held.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Threads to compute with; 0 takes every core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

/// An adapter on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterArg {
    /// What rows call it; its path if it was given no name.
    pub name: String,
    /// Where it is.
    pub dir: PathBuf,
}

impl FromStr for AdapterArg {
    type Err = Infallible;
    /// A path that exists is taken whole, so that it may have an equals sign.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty() && !Path::new(text).exists());
        let (name, dir) = named.unwrap_or((text, text));
        Ok(Self { name: name.to_owned(), dir: dir.into() })
    }
}

/// How the weights of the base are held.
#[derive(Args, Clone, Copy, Debug)]
pub struct StorageArgs {
    /// Hold the linear modules of the base in 4-bit blocks, or on the CPU in 8-bit integers: model.quantization of the run
    /// that trained the adapter.
    #[arg(long, default_value = "none")]
    pub quantization: Quantization,
    /// Whether their scales are quantized as well: model.double_quant.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub double_quant: bool,
}

impl ModelArgs {
    /// Where to compute. Eight bits are computed on the CPU, so no other device is looked for.
    pub fn device_choice(&self) -> DeviceChoice {
        match (self.device, self.storage.quantization) {
            (DeviceChoice::Auto, Quantization::Int8) => DeviceChoice::Named(Device::Cpu),
            (device, _) => device,
        }
    }
}

impl StorageArgs {
    /// As a value.
    pub fn storage(&self) -> WeightStorage {
        WeightStorage { quantization: self.quantization, double_quant: self.double_quant }
    }
}

impl ValueEnum for Quantization {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::None, Self::Nf4, Self::Int8]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// `eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// What to evaluate.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The rows: a JSON Lines file, a directory with valid.jsonl, or a directory of images with one for each class.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Sequences of a batch.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch_size: u32,
    /// Tokens of a sequence; longer ones are cut and counted.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_length: u32,
    /// Write the logits of the first batch, f32 [batch, seq, vocab], zero where padded.
    #[arg(long, value_name = "FILE")]
    pub logits: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `embed`.
#[derive(Args, Debug)]
pub struct EmbedArgs {
    /// What embeds.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The rows, {"text"}, {"input_ids"} or {"image"}: a JSON Lines file, a directory with valid.jsonl, or a directory of
    /// images with one for each class.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Where to write `embeddings`, f32 [rows, hidden_size], as safetensors.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Make every vector as long as 1.
    #[arg(long)]
    pub normalize: bool,
    /// Sequences of a batch.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch_size: u32,
    /// Tokens of a sequence; longer ones are cut and counted.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_length: u32,
}

/// `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// What generates.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text to continue.
    #[arg(long, required_unless_present = "prompts", conflicts_with = "prompts")]
    pub prompt: Option<String>,
    /// The adapter that the prompt is for, where several are given: its name, or base for none.
    #[arg(long = "use", value_name = "NAME", conflicts_with = "prompts")]
    pub chosen: Option<String>,
    /// Texts to continue one after another: JSON Lines of {"prompt"} or {"prompt", "adapter"}.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Give the prompt as a user's message through the model's chat template.
    #[arg(long)]
    pub chat: bool,
    /// Tokens at most.
    #[arg(long, default_value_t = 128)]
    pub max_new_tokens: usize,
    /// 0 always takes the most likely token; 1 draws from the model's own distribution.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Draw from the fewest tokens whose probabilities add up to this.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub top_p: f32,
    /// Draw from this many most likely tokens; 0 draws from all.
    #[arg(long, default_value_t = 0)]
    pub top_k: usize,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

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

/// `quantize`.
#[derive(Args, Debug)]
pub struct QuantizeArgs {
    /// The model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Where to write the quantized model.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Quantize the scales of blocks as well: 4.1 bits a weight instead of 4.5.
    #[arg(long)]
    pub double_quant: bool,
}

/// `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// A model or an adapter, also a GGUF file.
    pub dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// An architecture by its name.
fn architecture(name: &str) -> Result<Architecture, String> {
    let known = [Architecture::Ampere, Architecture::Hopper];
    known.into_iter().find(|known| known.name() == name).ok_or_else(|| "expected ampere or hopper".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn adapters_may_have_names() {
        let arg = |text: &str| text.parse::<AdapterArg>().map(|AdapterArg { name, dir }| (name, dir));
        assert_eq!(arg("law=out/law"), Ok(("law".to_owned(), "out/law".into())));
        assert_eq!(arg("out/law"), Ok(("out/law".to_owned(), "out/law".into())));
        assert_eq!(arg("=out"), Ok(("=out".to_owned(), "=out".into())));
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a=b");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(arg(odd.to_str().unwrap()).unwrap().1, odd);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
