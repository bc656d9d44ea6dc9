//! `generate`: continues or answers a prompt or a file of them, shown as they grow.

mod shown;

use data::{ChatTemplate, DataOptions, Tokenizer};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::args::GenerateArgs;
use crate::commands::{EXIT_DONE, Opened};
use crate::console::Console;
use crate::generation::{Continuation, Generation, News, Prompt, TextModel, encode_prompt};
use crate::run::adapters::Adapters;
use crate::run::base_model::now;
use crate::sampling::Sampling;
use shown::Shown;

pub(super) fn run(args: &GenerateArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    check(args)?;
    let Opened { base, adapters } = Opened::open(&args.model, console)?;
    let no_tokenizer = || data::DataError::NoTokenizer { dir: base.dir.clone() };
    let tokenizer = base.tokenizer()?.ok_or_else(no_tokenizer)?;
    let template = match args.chat {
        true => {
            let template = base.chat_template(None, Some(&tokenizer), now())?;
            Some(template.ok_or_else(|| Error::NoTemplate { dir: base.dir.clone() })?)
        }
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
    let asked = match &args.prompts {
        Some(path) => {
            let vocab_size = base.task.base().dimensions().vocab_size;
            let options = DataOptions { adapters: adapters.names().to_vec(), ..DataOptions::new(vocab_size) };
            data::read_prompts(path, &options)?
        }
        None => {
            let text = args.prompt.clone().unwrap_or_default();
            vec![data::Prompt { text, adapter: chosen(args, &adapters)?, line: None }]
        }
    };
    let rows = writer.write(&asked, &adapters)?;
    if args.json {
        match args.prompts {
            Some(_) => console.result(&json!({ "rows": rows }))?,
            None => console.result(&rows[0])?,
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

/// What continues prompts.
struct Writer<'a> {
    args: &'a GenerateArgs,
    console: Console,
    model: &'a dyn TextModel,
    tokenizer: &'a Tokenizer,
    template: Option<&'a ChatTemplate>,
    sampling: Sampling,
}

impl Writer<'_> {
    /// Continues `asked`, those of one adapter after those of another; returns what a program reads of each.
    fn write(&self, asked: &[data::Prompt], adapters: &Adapters) -> Result<Vec<Map<String, Value>>, Error> {
        let Self { args, model, tokenizer, .. } = *self;
        let encode = |(number, one): (u32, &data::Prompt)| {
            let token_ids = encode_prompt(&one.text, tokenizer, self.template).map_err(|error| self.at(one, error))?;
            Ok(Prompt { token_ids, number })
        };
        let prompts = (0..).zip(asked).map(encode).collect::<Result<Vec<_>, Error>>()?;
        let repeats = model.continues() && !args.chat;
        let begin = |one: &data::Prompt| if repeats { one.text.clone() } else { String::new() };
        let mut shown = Shown::new(self.console, tokenizer, asked.iter().map(begin))?;
        let mut rows = vec![Map::new(); asked.len()];
        let mut left: Vec<usize> = (0..asked.len()).collect();
        while let Some(&first) = left.first() {
            let chosen = asked[first].adapter;
            let (group, others): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&i| asked[i].adapter == chosen);
            left = others;
            let generation = Generation {
                model,
                pass: adapters.pass(chosen),
                sampling: self.sampling,
                max_new_tokens: args.max_new_tokens,
                stop_token_ids: &tokenizer.special_tokens().stop_token_ids,
                batch_size: args.batch_size as usize,
            };
            let of_group: Vec<Prompt> = group.iter().map(|&i| prompts[i].clone()).collect();
            let continuations = generation.run(&of_group, |index, news| match news {
                News::Token(token) => shown.add(group[index], token),
                News::End => shown.end(group[index]),
            });
            let continuations = continuations.map_err(|error| match error {
                Error::Prompt { index, source } => self.at(&asked[group[index]], *source),
                other => other,
            })?;
            // Only rows of a file name their adapter.
            let name = chosen.filter(|_| args.prompts.is_some()).map(|chosen| &adapters.names()[chosen as usize]);
            for (&index, continuation) in group.iter().zip(&continuations) {
                rows[index].extend(name.map(|name| ("adapter".to_owned(), json!(name))));
                rows[index].extend(self.row(&asked[index].text, &prompts[index], continuation)?);
            }
        }
        Ok(rows)
    }

    /// `error`, which is about `prompt`, with its line.
    fn at(&self, prompt: &data::Prompt, error: Error) -> Error {
        match (&self.args.prompts, prompt.line) {
            (Some(path), Some(line)) => Error::PromptOfFile { path: path.clone(), line, source: Box::new(error) },
            _ => error,
        }
    }

    /// What a program reads of a text.
    fn row(&self, text: &str, prompt: &Prompt, continuation: &Continuation) -> Result<Map<String, Value>, Error> {
        let Continuation { token_ids, finish_reason, seconds_to_first_token, seconds } = continuation;
        let found = [
            ("prompt", json!(text)),
            ("completion", json!(self.tokenizer.decode(token_ids, true)?)),
            ("token_ids", json!(token_ids)),
            ("prompt_tokens", json!(prompt.token_ids.len())),
            ("completion_tokens", json!(token_ids.len())),
            ("finish_reason", json!(finish_reason)),
            ("seconds_to_first_token", json!(seconds_to_first_token)),
            ("seconds", json!(seconds)),
            ("tokens_per_second", json!(token_ids.len() as f64 / seconds.max(1e-9))),
        ];
        Ok(found.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
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
