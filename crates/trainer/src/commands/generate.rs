//! `generate`: continues or answers a prompt or a file of them, shown as they grow.

use std::time::Instant;

use data::{ChatTemplate, DataOptions, Tokenizer};
use model::Pass;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::args::GenerateArgs;
use crate::commands::{EXIT_DONE, Opened};
use crate::console::Console;
use crate::generation::{Generation, TextModel, encode_prompt};
use crate::run::adapters::Adapters;
use crate::run::base_model::now;
use crate::sampling::Sampling;

pub(super) fn run(args: &GenerateArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    check(args)?;
    let Opened { base, adapters } = Opened::open(&args.model, console)?;
    let no_tokenizer = || data::DataError::NoTokenizer { dir: base.dir.clone() };
    let tokenizer = base.tokenizer()?.ok_or_else(no_tokenizer)?;
    let template = match args.chat {
        true => Some(base.chat_template(None, Some(&tokenizer), now())?.ok_or(data::DataError::NoChatTemplate)?),
        false => None,
    };
    let model = base.text_model()?;
    let writer = Writer {
        args,
        console,
        model,
        tokenizer: &tokenizer,
        template: template.as_ref(),
        sampling: Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p, seed: args.seed },
    };
    match (&args.prompts, &args.prompt) {
        (Some(path), _) => {
            let vocab_size = base.task.base().dimensions().vocab_size;
            let options = DataOptions { adapters: adapters.names().to_vec(), ..DataOptions::new(vocab_size) };
            let mut rows = Vec::new();
            for prompt in data::read_prompts(path, &options)? {
                let name = prompt.adapter.map(|chosen| adapters.names()[chosen as usize].as_str());
                rows.push(writer.write(&prompt.text, name, adapters.pass(prompt.adapter))?);
            }
            if args.json {
                console.result(&json!({ "rows": rows }))?;
            }
        }
        (None, prompt) => {
            let chosen = chosen(args, &adapters)?;
            let row = writer.write(prompt.as_deref().unwrap_or_default(), None, adapters.pass(chosen))?;
            if args.json {
                console.result(&row)?;
            }
        }
    }
    Ok(EXIT_DONE)
}

/// The adapter that `--use` names.
fn chosen(args: &GenerateArgs, adapters: &Adapters) -> Result<Option<u32>, Error> {
    let names = adapters.names();
    let reason = |what: &str| format!("{what}; name one with --use: {}", names.join(", "));
    match &args.chosen {
        None if names.is_empty() => Ok(None),
        // The base is one of the names.
        None if names.len() == 2 => Ok(Some(0)),
        None => {
            let name = names[0].clone();
            Err(Error::AdapterName { name, reason: reason("several adapters are given for one prompt") })
        }
        Some(name) => match names.iter().position(|known| known == name) {
            Some(index) => Ok(Some(index as u32)),
            None if names.is_empty() => {
                Err(Error::FlagWithoutEffect { flag: "--use", with: "without --adapter NAME=DIR".to_owned() })
            }
            None => Err(Error::AdapterName { name: name.clone(), reason: reason("there is no adapter of this name") }),
        },
    }
}

/// What continues one prompt after another.
struct Writer<'a> {
    args: &'a GenerateArgs,
    console: Console,
    model: &'a dyn TextModel,
    tokenizer: &'a Tokenizer,
    template: Option<&'a ChatTemplate>,
    sampling: Sampling,
}

impl Writer<'_> {
    /// Continues `text`, shown as it grows, with the adapter of `pass`; returns what a program reads of it.
    fn write(&self, text: &str, adapter: Option<&str>, pass: &Pass) -> Result<Map<String, Value>, Error> {
        let Self { args, console, model, tokenizer, .. } = *self;
        let prompt = encode_prompt(text, tokenizer, self.template)?;
        let generation = Generation {
            model,
            pass,
            sampling: self.sampling,
            max_new_tokens: args.max_new_tokens,
            stop_token_ids: &tokenizer.special_tokens().stop_token_ids,
        };
        if model.continues() && !args.chat {
            console.fragment(text);
        }
        let started = Instant::now();
        let mut first_token = None;
        let mut stream = tokenizer.stream(true);
        let continuation = generation.run(&prompt, |token| {
            first_token.get_or_insert_with(|| started.elapsed().as_secs_f64());
            console.fragment(&stream.push(token)?);
            Ok(())
        });
        let seconds = started.elapsed().as_secs_f64();
        let rest = stream.finish()?;
        console.fragment(&format!("{rest}\n"));
        let continuation = continuation?;
        let tokens = continuation.token_ids.len();
        let mut row = Map::new();
        if let Some(adapter) = adapter {
            row.insert("adapter".to_owned(), json!(adapter));
        }
        let found = [
            ("prompt", json!(text)),
            ("completion", json!(tokenizer.decode(&continuation.token_ids, true)?)),
            ("token_ids", json!(continuation.token_ids)),
            ("prompt_tokens", json!(prompt.len())),
            ("completion_tokens", json!(tokens)),
            ("finish_reason", json!(continuation.finish_reason)),
            ("seconds_to_first_token", json!(first_token)),
            ("seconds", json!(seconds)),
            ("tokens_per_second", json!(tokens as f64 / seconds.max(1e-9))),
        ];
        row.extend(found.map(|(key, value)| (key.to_owned(), value)));
        Ok(row)
    }
}

fn check(args: &GenerateArgs) -> Result<(), Error> {
    let wrong = |flag, expected, got| Error::Flag { flag, expected, got };
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        return Err(wrong("--temperature", "a finite number that is not negative", args.temperature));
    }
    if !(0.0..=1.0).contains(&args.top_p) {
        return Err(wrong("--top-p", "at least 0 and at most 1", args.top_p));
    }
    Ok(())
}
