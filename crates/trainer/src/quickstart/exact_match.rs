//! How often a model writes exactly what a row of the task asks for.

use std::path::Path;

use checkpoint::{CheckpointError, read_text};
use data::Tokenizer;
use model::Pass;
use serde::Deserialize;

use crate::Error;
use crate::generation::{Continuation, Generation, Prompt, TextModel, encode_prompt};
use crate::sampling::Sampling;

/// Tokens that a model may use for an answer; the longest record takes fewer than half.
const MAX_NEW_TOKENS: usize = 48;
/// Rows that are answered at once: all weights of so small a model stay in the cache.
const BATCH_SIZE: usize = 32;
/// The largest file of rows that is read.
const LIMIT: u64 = 16 << 20;

/// What is asked and what the answer should be.
#[derive(Debug, Deserialize)]
pub(crate) struct TaskRow {
    /// The text to continue.
    pub(crate) prompt: String,
    /// Its continuation.
    pub(crate) completion: String,
}

impl TaskRow {
    /// The rows of a JSON Lines file.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is no such row.
    pub(crate) fn read(path: &Path) -> Result<Vec<Self>, Error> {
        let text = read_text(path, LIMIT)?;
        let row = |(number, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|error: serde_json::Error| CheckpointError::Json {
                    path: path.to_owned(),
                    line: number + 1,
                    column: error.column(),
                    reason: error.to_string(),
                })
                .map_err(Error::from)
        };
        text.lines().enumerate().map(row).collect()
    }
}

/// A model's answer to a row.
pub(crate) struct Answer {
    /// What it wrote, up to its own end.
    pub(crate) text: String,
    /// Whether that is what the row asks for.
    pub(crate) is_right: bool,
}

/// Lets `model` answer `rows`, always with its most likely token.
///
/// # Errors
/// Those of the model and the tokenizer.
pub(crate) fn answers(
    model: &dyn TextModel,
    pass: &Pass,
    tokenizer: &Tokenizer,
    rows: &[TaskRow],
) -> Result<Vec<Answer>, Error> {
    let generation = Generation {
        model,
        pass,
        sampling: Sampling::GREEDY,
        max_new_tokens: MAX_NEW_TOKENS,
        stop_token_ids: &tokenizer.special_tokens().stop_token_ids,
        batch_size: BATCH_SIZE,
    };
    let prompt = |row: &TaskRow| Ok(Prompt { token_ids: encode_prompt(&row.prompt, tokenizer, None)?, number: 0 });
    let prompts = rows.iter().map(prompt).collect::<Result<Vec<_>, Error>>()?;
    let continuations = generation.run(&prompts, |_, _| Ok(()))?;
    let answer = |(continuation, row): (&Continuation, &TaskRow)| {
        let text = tokenizer.decode(&continuation.token_ids, true)?;
        let is_right = text == row.completion;
        Ok(Answer { text, is_right })
    };
    continuations.iter().zip(rows).map(answer).collect()
}
