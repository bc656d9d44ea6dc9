//! Texts, token by token, several at once.

mod text_model;
mod texts;

use data::{ChatTemplate, Conversation, Tokenizer};
use model::Pass;

use crate::Error;
use crate::sampling::Sampling;

pub use text_model::{TextModel, Writing};
use texts::Texts;

/// Texts that are written at once unless somebody says otherwise: a pass over the weights costs little more for so many. Each takes
/// memory for the keys and values of its own tokens.
pub const BATCH_SIZE: usize = 16;
/// Tokens of prompts that are read in one pass, unless a single prompt has more: what bounds its memory.
const PROMPT_TOKENS: usize = 2048;

/// How texts are written.
pub struct Generation<'a> {
    /// The model.
    pub model: &'a dyn TextModel,
    /// Its adapter.
    pub pass: &'a Pass,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens of a text at most.
    pub max_new_tokens: usize,
    /// Tokens that end a text; they are not part of it.
    pub stop_token_ids: &'a [u32],
    /// Texts that are written at once. Keys and values are kept for so many.
    pub batch_size: usize,
}

/// What a text begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens, at least one.
    pub token_ids: Vec<u32>,
    /// Which random numbers are drawn for the text: two texts with the same prompt and number are the same.
    pub number: u32,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// The new tokens.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// From the moment when its prompt was read to its first token, if it has one.
    pub seconds_to_first_token: Option<f64>,
    /// From the same moment to its end.
    pub seconds: f64,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// With a stop token.
    Stop,
    /// At the number of tokens asked for, or of positions the model has.
    Length,
}

/// What became of a text just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has one token more.
    Token(u32),
    /// It has ended.
    End,
}

impl Generation<'_> {
    /// Reads `prompts` and goes on with each; `each` is told which of them has news. As many as [`Generation::batch_size`] are
    /// written at once, a token of each in one pass; where one ends the next prompt takes its place. A text depends on those
    /// beside it only as rows of a product do on their number: by roundings.
    ///
    /// # Errors
    /// Those of the model and of `each`; [`Error::Prompt`] with the first prompt of which the model makes no numbers.
    pub fn run(
        &self,
        prompts: &[Prompt],
        each: impl FnMut(usize, News) -> Result<(), Error>,
    ) -> Result<Vec<Continuation>, Error> {
        let mut texts = Texts::new(self, prompts, each)?;
        while texts.read()? || texts.write()? {
            // What keys and values have outgrown goes back to the system.
            device::pool::advance();
        }
        Ok(texts.into_continuations())
    }
}

/// The tokens of a prompt: the text as it is, or a user's message in `template`.
///
/// # Errors
/// A prompt without tokens; those of tokenizer and template.
pub fn encode_prompt(prompt: &str, tokenizer: &Tokenizer, template: Option<&ChatTemplate>) -> Result<Vec<u32>, Error> {
    let mut ids = match template {
        None => tokenizer.encode(prompt, true)?,
        Some(template) => {
            let message = serde_json::json!({ "role": "user", "content": prompt });
            let text = template.render(&Conversation::new("messages", vec![message], None)?, true)?;
            tokenizer.encode(&text, false)?
        }
    };
    if ids.is_empty() {
        let begin = tokenizer.special_tokens().bos_token_id;
        ids.push(begin.ok_or_else(|| Error::EmptyPrompt { prompt: prompt.to_owned() })?);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
