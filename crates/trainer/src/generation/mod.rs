//! Text, token by token.

mod text_model;

use data::{ChatTemplate, Conversation, Tokenizer};
use model::Pass;

use crate::Error;
use crate::sampling::Sampling;

pub use text_model::{TextModel, Writing};

/// How a text is written.
pub struct Generation<'a> {
    /// The model.
    pub model: &'a dyn TextModel,
    /// Its adapter.
    pub pass: &'a Pass,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens at most.
    pub max_new_tokens: usize,
    /// Tokens that end the text; they are not part of it.
    pub stop_token_ids: &'a [u32],
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The new tokens.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
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

impl Generation<'_> {
    /// Reads `prompt` and writes; `each` is given every new token as it is chosen.
    ///
    /// # Errors
    /// Those of the model and of `each`; [`Error::NotANumber`] if the model computes no numbers.
    pub fn run(&self, prompt: &[u32], mut each: impl FnMut(u32) -> Result<(), Error>) -> Result<Continuation, Error> {
        let mut text = self.model.start(prompt, self.pass)?;
        let mut token_ids = Vec::new();
        while token_ids.len() < self.max_new_tokens.min(text.room()) {
            let logits = text.logits(token_ids.last().copied())?;
            let token = self.sampling.choose(&logits, token_ids.len() as u64).ok_or(Error::NotANumber)?;
            if self.stop_token_ids.contains(&token) {
                return Ok(Continuation { token_ids, finish_reason: FinishReason::Stop });
            }
            each(token)?;
            token_ids.push(token);
        }
        Ok(Continuation { token_ids, finish_reason: FinishReason::Length })
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
