//! `combine`: one LoRA adapter of several.

use std::path::Path;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, CheckpointError};
use peft::combine::{Combination, CombinationType, MajoritySign, Weighted};
use peft::lora::LoraConfig;
use peft::{AdapterConfig, PeftError, formats};

use crate::Error;
use crate::args::CombineArgs;
use crate::commands::EXIT_DONE;
use crate::console::Console;
use crate::error::while_saving;
use crate::run::OutputError;
use crate::units::Counted;

pub(super) fn run(args: &CombineArgs) -> Result<u8, Error> {
    let console = Console::default();
    let combination = Combination {
        combination_type: args.combination_type.parse().map_err(as_flag)?,
        svd_rank: args.svd_rank,
        density: args.density,
        majority_sign_method: if args.majority_by_frequency { MajoritySign::Frequency } else { MajoritySign::Total },
        seed: args.seed,
    };
    if args.output.symlink_metadata().is_ok() {
        return Err(OutputError::Exists { path: args.output.clone() }.into());
    }
    check_flags(args, combination.combination_type)?;
    let opened = args.adapters.iter().map(|dir| open(dir, console)).collect::<Result<Vec<_>, _>>()?;
    let weights = match args.weights.len() {
        0 => vec![1.0; opened.len()],
        weights if weights == opened.len() => args.weights.clone(),
        weights => return Err(Error::Weights { weights, adapters: opened.len() }),
    };
    let adapters: Vec<Weighted<'_>> =
        opened.iter().zip(weights).map(|((adapter, config), weight)| Weighted { adapter, config, weight }).collect();
    if !args.any_base {
        check_bases(args, &opened)?;
    }
    let combined = combination.of(&adapters).map_err(as_flag)?;
    if let Some(parent) = args.output.parent() {
        let failed = |source| CheckpointError::Io { action: "create", path: parent.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(failed).map_err(Error::Save)?;
    }
    combined.save(&args.output).map_err(while_saving)?;
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

/// The same error with the name of the flag in the place of PEFT's.
fn as_flag(error: PeftError) -> PeftError {
    let flag = |key| match key {
        "combination_type" => "--type",
        "density" => "--density",
        "svd_rank" => "--svd-rank",
        "weights" => "--weights",
        other => other,
    };
    match error {
        PeftError::Setting { key, reason } => PeftError::Setting { key: flag(key), reason },
        other => other,
    }
}

/// Refuses flags that the way of combining does not look at.
fn check_flags(args: &CombineArgs, kind: CombinationType) -> Result<(), Error> {
    let flags = [
        ("--density", args.density.is_some() && !kind.thins_out()),
        ("--svd-rank", args.svd_rank.is_some() && !kind.truncates()),
        ("--majority-by-frequency", args.majority_by_frequency && !kind.elects()),
    ];
    match flags.into_iter().find(|(_, is_idle)| *is_idle) {
        Some((flag, _)) => {
            Err(Error::FlagWithoutEffect { flag, with: format!("with --type {}", args.combination_type) })
        }
        None => Ok(()),
    }
}

/// Refuses adapters whose files name different bases.
fn check_bases(args: &CombineArgs, opened: &[(AdapterDirectory, LoraConfig)]) -> Result<(), Error> {
    let mut named = args.adapters.iter().zip(opened).filter_map(|(dir, (_, config))| {
        let base = config.common.base_model_name_or_path.as_ref().filter(|base| !base.is_empty());
        base.map(|base| (dir, base))
    });
    let Some((first, first_base)) = named.next() else { return Ok(()) };
    match named.find(|(_, base)| *base != first_base) {
        None => Ok(()),
        Some((second, second_base)) => Err(Error::OtherBases {
            first: first.clone(),
            first_base: first_base.clone(),
            second: second.clone(),
            second_base: second_base.clone(),
        }),
    }
}

fn open(dir: &Path, console: Console) -> Result<(AdapterDirectory, LoraConfig), Error> {
    let directory = formats::read(dir, None)?;
    let (config, warnings) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    warnings.iter().for_each(|warning| console.warning(warning));
    match config {
        AdapterConfig::Lora(config) => Ok((directory, config)),
        _ => Err(Error::NotLora { dir: dir.to_owned() }),
    }
}
