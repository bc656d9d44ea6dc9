//! `bake`: a soft prompt becomes rows of the vocabulary, and its tokens come before every text.
//!
//! A program that knows nothing of adapters computes the same: the new tokens are looked up in the embedding as any other.
//! Their rows of the head are the mean of all others, so that none of them is ever the most likely token; a head that shares
//! the embedding's values gets values of its own for that.

mod tokenizer;
mod weights;

use std::ops::Range;

use checkpoint::MODEL_INDEX;
use data::Task;
use model::ModuleKind;
use peft::AdapterConfig;
use peft::formats;
use serde_json::{Map, Value, json};
use tensor::no_grad;

use crate::Error;
use crate::args::BakeArgs;
use crate::commands::EXIT_DONE;
use crate::commands::model_output::ModelOutput;
use crate::console::Console;
use crate::error::Saving;
use crate::run::base_model::BaseModel;
use crate::run::companions;
use crate::run::purpose::Purpose;
use crate::units::Counted;
use weights::Growing;

pub(super) fn run(args: &BakeArgs) -> Result<u8, Error> {
    let console = Console::default();
    let output = ModelOutput::new(&args.output)?;
    check_method(args)?;
    let purpose = Purpose::of_files(&args.model, Some(&args.adapter))?;
    if purpose.task != Task::CausalLm {
        let what =
            "is a soft prompt of a decoder that continues texts; use this one with --adapter in eval and generate";
        return Err(not_bakeable(args, format!("what can be baked {what}")));
    }
    let base = BaseModel::open(&args.model, None, purpose)?;
    base.task.base().check_finite()?;
    let (method, warnings) = peft::open(&args.adapter, base.task.base())?;
    warnings.iter().for_each(|warning| console.warning(warning));
    let prompt =
        no_grad(|| method.prompt())?.ok_or_else(|| not_bakeable(args, "it has no virtual tokens".to_owned()))?;
    let vocab_size = base.task.base().dimensions().vocab_size as u32;
    let ids = vocab_size..vocab_size + prompt.shape()[0] as u32;

    let growing = Growing::new(&base, &*method, unscaled(prompt.to_vec(), base.task.base().modules()))?;
    let mut files = companions::of_model(&args.model, |config| {
        config.insert("vocab_size".to_owned(), json!(ids.end));
        if growing.unties() {
            config.insert("tie_word_embeddings".to_owned(), Value::Bool(false));
        }
    })?;
    let tokens = companions_with_prompt(args, &mut files, &ids)?;

    let mut staged = output.stage()?;
    let index = growing.write(&mut staged).map_err(|Saving(error)| *error)?;
    files.extend(index.text().map(|text| (MODEL_INDEX, text)));
    for (name, text) in files {
        staged.write(name, text.as_bytes()).map_err(Error::Save)?;
    }
    staged.commit(Map::new()).map_err(Error::Save)?;

    let (count, dir) = (Counted(u64::from(ids.end - ids.start), "virtual token"), args.output.display());
    console.line(format_args!("baked {count} into {dir}: tokens {} to {}", ids.start, ids.end - 1));
    match tokens {
        Some(tokens) => console.line(format_args!(
            "tokenizer and chat template put them before every text; a program that leaves special tokens out has to begin \
             with {}",
            tokens.concat()
        )),
        None => console.line("the model has no tokenizer.json: begin every row of token ids with them"),
    }
    if let Some(error) = growing.rounding().filter(|error| *error > 0.0) {
        let percent = 100.0 * error;
        console.line(format_args!(
            "their rows are rounded to the type of the embedding, by at most {percent:.2} % of the largest value"
        ));
    }
    Ok(EXIT_DONE)
}

fn not_bakeable(args: &BakeArgs, reason: String) -> Error {
    Error::NotBakeable { dir: args.adapter.clone(), reason }
}

/// Refuses methods that are no rows of input, and says what does for them what this command does for prompts.
fn check_method(args: &BakeArgs) -> Result<(), Error> {
    let directory = match formats::Format::of(&args.adapter)? {
        formats::Format::Peft | formats::Format::AdapterHub => formats::read(&args.adapter, None)?,
        formats::Format::Mlx | formats::Format::Gguf => {
            return Err(not_bakeable(args, "it changes weights; use `tunesmith merge`".to_owned()));
        }
    };
    let path = args.adapter.join(checkpoint::ADAPTER_CONFIG);
    let reason = match AdapterConfig::read(&path, &directory.config)?.0 {
        AdapterConfig::PromptLearning(config) if !config.method.is_prefix() => return Ok(()),
        AdapterConfig::PromptLearning(_) => {
            "a prefix is keys and values, which no row of an embedding makes; use it with --adapter in eval and generate"
        }
        AdapterConfig::Bottleneck(_) => {
            "a bottleneck adapter has layers of its own; use it with --adapter in eval and generate"
        }
        _ => "it changes weights; use `tunesmith merge`",
    };
    Err(not_bakeable(args, reason.to_owned()))
}

/// The rows as an embedding holds them that scales what it looks up: prompts are not scaled.
fn unscaled(mut rows: Vec<f32>, modules: &model::Modules) -> Vec<f32> {
    let embedding = modules.iter().find(|module| matches!(module.kind, ModuleKind::Embedding { .. }));
    if let Some(scale) = embedding.and_then(|module| module.embedding_options.scale) {
        rows.iter_mut().for_each(|value| *value /= scale);
    }
    rows
}

/// Puts the prompt's tokens into the files beside the weights; their spellings, if there is a tokenizer.
fn companions_with_prompt(
    args: &BakeArgs,
    files: &mut Vec<(&'static str, String)>,
    ids: &Range<u32>,
) -> Result<Option<Vec<String>>, Error> {
    suppress(args, files, ids)?;
    let path = args.model.join("tokenizer.json");
    let Some((_, text)) = files.iter_mut().find(|(name, _)| *name == "tokenizer.json") else { return Ok(None) };
    let broken = |reason: String| Error::TokenizerFile { path: path.clone(), reason };
    let mut json: Value = checkpoint::parse_json(&path, text)?;
    let tokens = tokenizer::add_tokens(&mut json, ids).map_err(&broken)?;
    tokenizer::prepend(&mut json, &tokens, ids);
    *text = json.to_string();
    let found = data::token_ids(&path, text, &tokens)?;
    if !found.iter().copied().eq(ids.clone().map(Some)) {
        let reason = format!("new tokens would get the ids {found:?} and not {ids:?}: its ids have holes");
        return Err(broken(reason));
    }
    let prompt = tokens.concat();
    for (name, text) in files.iter_mut() {
        match *name {
            "chat_template.jinja" => *text = tokenizer::with_prompt(text, &prompt),
            "chat_template.json" | "tokenizer_config.json" => {
                let mut json: Map<String, Value> = checkpoint::parse_json(&args.model.join(*name), text)?;
                if *name == "tokenizer_config.json" {
                    tokenizer::declare(&mut json, &tokens, ids);
                }
                tokenizer::prepend_to_templates(&mut json, &prompt);
                *text = serde_json::to_string_pretty(&json).unwrap_or_default() + "\n";
            }
            _ => {}
        }
    }
    Ok(Some(tokens))
}

/// Says in `generation_config.json` that the prompt's tokens are never to be drawn.
fn suppress(args: &BakeArgs, files: &mut Vec<(&'static str, String)>, ids: &Range<u32>) -> Result<(), Error> {
    const FILE: &str = "generation_config.json";
    let mut json: Map<String, Value> = match files.iter().find(|(name, _)| *name == FILE) {
        Some((_, text)) => checkpoint::parse_json(&args.model.join(FILE), text)?,
        None => {
            // With such a file transformers no longer looks for these elsewhere.
            let config: Map<String, Value> = checkpoint::parse_json(&args.model.join(files[0].0), &files[0].1)?;
            let keys = ["bos_token_id", "eos_token_id", "pad_token_id"];
            keys.iter().filter_map(|key| Some(((*key).to_owned(), config.get(*key)?.clone()))).collect()
        }
    };
    let before = json.get("suppress_tokens").and_then(Value::as_array).cloned().unwrap_or_default();
    json.insert("suppress_tokens".to_owned(), before.into_iter().chain(ids.clone().map(Value::from)).collect());
    let text = serde_json::to_string_pretty(&json).unwrap_or_default() + "\n";
    match files.iter_mut().find(|(name, _)| *name == FILE) {
        Some((_, own)) => *own = text,
        None => files.push((FILE, text)),
    }
    Ok(())
}
