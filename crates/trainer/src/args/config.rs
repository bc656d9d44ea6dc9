//! The settings of a run.

use std::path::PathBuf;

use clap::Args;

use crate::config::Overrides;

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
