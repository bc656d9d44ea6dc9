//! `convert`: an adapter in the format of another program.

use std::path::Path;

use checkpoint::{AdapterDirectory, StagedDirectory, read_text};
use peft::formats::{self, Blueprint, Format};
use peft::prompt_learning::PromptMethod;
use peft::updates::{LoraUpdates, PeftFiles, check_complete};
use peft::{AdapterConfig, PeftError};
use serde_json::Map;

use crate::Error;
use crate::args::ConvertArgs;
use crate::commands::EXIT_DONE;
use crate::commands::model_output::ModelOutput;
use crate::console::Console;
use crate::error::while_saving;
use crate::run::headers::Headers;
use crate::run::purpose::{LABELS_FILE, Purpose};

/// The largest file of labels that is copied.
const LIMIT: u64 = 16 << 20;

pub(super) fn run(args: &ConvertArgs) -> Result<u8, Error> {
    let console = Console::default();
    let output = ModelOutput::new(&args.output)?;
    let from = Format::of(&args.adapter)?;
    let headers = |dir: &Path| Headers::read(dir, &Purpose::of_files(dir, Some(&args.adapter))?);
    let headers = args.model.as_deref().map(headers).transpose()?;
    let base = headers.as_ref().map(Headers::blueprint);
    let directory = formats::read(&args.adapter, base)?;
    let (config, warnings) = AdapterConfig::read(&formats::config_path(&directory), &directory.config)?;
    warnings.iter().for_each(|warning| console.warning(warning));
    match (base, &config) {
        (Some(base), config) => formats::check(&directory, config, base)?,
        (None, AdapterConfig::Lora(config)) => check_complete(&directory, config)?,
        _ => {}
    }
    let mut staged = output.stage()?;
    write(args, &directory, &config, base, &mut staged)?;
    // Names of classes, which no format has a place for.
    let labels = args.adapter.join(LABELS_FILE);
    if labels.exists() {
        staged.write(LABELS_FILE, read_text(&labels, LIMIT)?.as_bytes()).map_err(Error::Save)?;
    }
    staged.commit(Map::new()).map_err(Error::Save)?;
    console.line(format_args!(
        "converted {} from {from} to {} in {}",
        args.adapter.display(),
        args.to,
        args.output.display()
    ));
    Ok(EXIT_DONE)
}

fn write(
    args: &ConvertArgs,
    directory: &AdapterDirectory,
    config: &AdapterConfig,
    base: Option<Blueprint<'_>>,
    staged: &mut StagedDirectory<'_>,
) -> Result<(), Error> {
    let refused = |what: &str, reason: &str| {
        let (what, reason) = (what.to_owned(), reason.to_owned());
        Error::from(PeftError::NotConvertible { what, format: args.to.as_str(), reason })
    };
    match (config, args.to) {
        (AdapterConfig::Bottleneck(_), _) => Err(refused(
            "a bottleneck adapter",
            "only AdapterHub has them, whose files tunesmith reads and writes as they are",
        )),
        (_, Format::Peft) => PeftFiles::of(directory)?.stage(staged).map_err(while_saving),
        (AdapterConfig::Lora(config), format) => {
            let updates = LoraUpdates::read(directory, config)?;
            formats::write(format, updates, base, &args.name, staged).map_err(while_saving)
        }
        (AdapterConfig::Ia3(config), Format::AdapterHub) => {
            let base = base
                .ok_or_else(|| refused("the adapter", "its modules are named after the base; name it with --model"))?;
            formats::adapterhub::write_ia3(directory, config, base, &args.name, staged).map_err(while_saving)
        }
        (AdapterConfig::Ia3(_), _) => {
            Err(refused("an (IA)^3 adapter", "the format has LoRA only; merge the adapter into its base instead"))
        }
        (AdapterConfig::PromptLearning(config), _) => {
            let reason = match config.method {
                PromptMethod::PrefixTuning(_) => {
                    "the format has LoRA only, and neither a model nor its vocabulary has a place for keys and values"
                }
                PromptMethod::PromptTuning(_) | PromptMethod::PTuning(_) => {
                    "the format has LoRA only; `tunesmith bake` makes a soft prompt a part of the vocabulary"
                }
            };
            Err(refused("an adapter of virtual tokens", reason))
        }
        _ => Err(refused(
            "an adapter of this method",
            "the format has LoRA only; merge the adapter into its base instead",
        )),
    }
}
