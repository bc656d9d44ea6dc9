//! Commands that compute with a model.

use std::path::PathBuf;

use clap::Args;

use super::ModelArgs;
use crate::generation::BATCH_SIZE;

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
    /// Texts to continue: JSON Lines of {"prompt"} or {"prompt", "adapter"}.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Texts that are written at once, those of one adapter together; keys and values are kept for so many.
    #[arg(long, default_value_t = BATCH_SIZE as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch_size: u32,
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
