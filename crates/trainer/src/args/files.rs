//! Commands that look at files, or write them anew.

use std::path::PathBuf;

use clap::Args;

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
