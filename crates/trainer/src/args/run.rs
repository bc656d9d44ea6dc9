//! Commands that train, or say what would be trained.

use std::path::PathBuf;

use clap::Args;
use device::launch::Architecture;

use super::ConfigArgs;

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

/// An architecture by its name.
fn architecture(name: &str) -> Result<Architecture, String> {
    let known = [Architecture::Ampere, Architecture::Hopper];
    known.into_iter().find(|known| known.name() == name).ok_or_else(|| "expected ampere or hopper".to_owned())
}
