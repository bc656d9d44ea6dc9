//! `combine`: one LoRA adapter of several.

use std::path::PathBuf;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, CheckpointError};
use peft::AdapterConfig;
use peft::combine::{Combination, MajoritySign, Weighted};
use peft::lora::LoraConfig;

use crate::Error;
use crate::args::CombineArgs;
use crate::commands::EXIT_DONE;
use crate::console::Console;
use crate::run::OutputError;
use crate::units::Counted;

pub(super) fn run(args: &CombineArgs) -> Result<u8, Error> {
    let console = Console::default();
    let combination = Combination {
        combination_type: args.combination_type.parse()?,
        svd_rank: args.svd_rank,
        density: args.density,
        majority_sign_method: if args.majority_by_frequency { MajoritySign::Frequency } else { MajoritySign::Total },
        seed: args.seed,
    };
    if args.output.exists() {
        return Err(OutputError::Exists { path: args.output.clone() }.into());
    }
    let opened = args.adapters.iter().map(|dir| open(dir, console)).collect::<Result<Vec<_>, _>>()?;
    let weights = match args.weights.len() {
        0 => vec![1.0; opened.len()],
        weights if weights == opened.len() => args.weights.clone(),
        weights => return Err(Error::Weights { weights, adapters: opened.len() }),
    };
    let adapters: Vec<Weighted<'_>> =
        opened.iter().zip(weights).map(|((adapter, config), weight)| Weighted { adapter, config, weight }).collect();
    let combined = combination.of(&adapters)?;
    if let Some(parent) = args.output.parent() {
        let failed = |source| CheckpointError::Io { action: "create", path: parent.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(failed).map_err(Error::Save)?;
    }
    combined.save(&args.output)?;
    let lost = combined.largest_error.map_or_else(String::new, |error| {
        format!("; the update of a module differs by at most {:.2} % of its norm", 100.0 * error)
    });
    console.line(format_args!(
        "combined {} into {}: {} of rank {}{lost}",
        Counted(adapters.len() as u64, "adapter"),
        args.output.display(),
        Counted(combined.num_modules() as u64, "module"),
        combined.config.r,
    ));
    Ok(EXIT_DONE)
}

fn open(dir: &PathBuf, console: Console) -> Result<(AdapterDirectory, LoraConfig), Error> {
    let directory = AdapterDirectory::open(dir)?;
    let (config, warnings) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    warnings.iter().for_each(|warning| console.warning(warning));
    match config {
        AdapterConfig::Lora(config) => Ok((directory, config)),
        _ => Err(Error::NotLora { dir: dir.clone() }),
    }
}
