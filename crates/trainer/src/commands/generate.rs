//! `generate`: continues or answers a prompt, shown as it grows.

use std::time::Instant;

use serde_json::json;

use crate::Error;
use crate::args::GenerateArgs;
use crate::commands::{EXIT_DONE, Opened};
use crate::console::Console;
use crate::generation::{Generation, encode_prompt};
use crate::run::base_model::now;
use crate::sampling::Sampling;

pub(super) fn run(args: &GenerateArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    check(args)?;
    let Opened { base, pass } = Opened::open(&args.model, console)?;
    let no_tokenizer = || data::DataError::NoTokenizer { dir: base.dir.clone() };
    let tokenizer = base.tokenizer()?.ok_or_else(no_tokenizer)?;
    let template = match args.chat {
        true => Some(base.chat_template(None, Some(&tokenizer), now())?.ok_or(data::DataError::NoChatTemplate)?),
        false => None,
    };
    let prompt = encode_prompt(&args.prompt, &tokenizer, template.as_ref())?;
    let model = base.text_model()?;
    let generation = Generation {
        model,
        pass: &pass,
        sampling: Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p, seed: args.seed },
        max_new_tokens: args.max_new_tokens,
        stop_token_ids: &tokenizer.special_tokens().stop_token_ids,
    };
    if model.continues() && !args.chat {
        console.fragment(&args.prompt);
    }
    let started = Instant::now();
    let mut stream = tokenizer.stream(true);
    let continuation = generation.run(&prompt, |token| {
        console.fragment(&stream.push(token)?);
        Ok(())
    });
    let rest = stream.finish()?;
    console.fragment(&format!("{rest}\n"));
    let continuation = continuation?;
    if args.json {
        let tokens = continuation.token_ids.len();
        console.result(&json!({
            "prompt": args.prompt,
            "completion": tokenizer.decode(&continuation.token_ids, true)?,
            "token_ids": continuation.token_ids,
            "prompt_tokens": prompt.len(),
            "completion_tokens": tokens,
            "finish_reason": continuation.finish_reason,
            "tokens_per_second": tokens as f64 / started.elapsed().as_secs_f64().max(1e-9),
        }))?;
    }
    Ok(EXIT_DONE)
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
