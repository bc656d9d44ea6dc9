//! Rows to examples.

mod classification;
mod completion;
mod messages;
mod seq2seq;
mod text;
mod tokenized;
mod words;

use checkpoint::sha256_hex;
use serde_json::{Map, Value};

use crate::row::{Row, kind};
use crate::{ChatTemplate, DataError, DataOptions, Example, IGNORE_INDEX, Rendered, Task, Tokenizer};

/// The key of a row's adapter.
const ADAPTER: &str = "adapter";

/// What encodes rows: the tokenizer and the template of a model, as far as it has them.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) tokenizer: Option<&'a Tokenizer>,
    pub(crate) template: Option<&'a ChatTemplate>,
    pub(crate) options: &'a DataOptions,
}

/// An example, and what happened on the way.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) example: Example,
    /// Tokens were cut off.
    pub(crate) truncated: bool,
    /// The prompt's last token holds the beginning of the completion too.
    pub(crate) merged: bool,
}

impl Encoder<'_> {
    /// One example for a row; several for a conversation whose template renders every turn differently.
    pub(crate) fn encode(&self, row: Row) -> Result<Vec<Encoded>, DataError> {
        let one = |encoded| Ok(vec![encoded]);
        match (self.options.task, row) {
            (_, Row::Tokenized(row)) => one(self.tokenized(row)?),
            (Task::CausalLm, Row::Text { text, .. }) => one(self.text(&text)?),
            (Task::CausalLm, Row::Completion { prompt, completion }) => one(self.completion(prompt, &completion)?),
            (Task::CausalLm, Row::Messages(conversation)) => self.messages(&conversation),
            (Task::CausalLm, Row::Turns { conversation, prompt }) => one(self.turns(&conversation, prompt)?),
            (Task::SequenceClassification, Row::Text { text, pair, label }) => {
                one(self.classified(&text, pair.as_deref(), label)?)
            }
            (Task::FeatureExtraction, Row::Text { text, pair, .. }) => one(self.embedded(&text, pair.as_deref())?),
            (Task::TokenClassification, Row::Words { words, labels }) => one(self.words(&words, labels)?),
            (Task::Seq2SeqLm, Row::Completion { prompt, completion }) => one(self.seq2seq(&prompt, &completion)?),
            (task, row) => Err(DataError::UnknownRow { keys: vec![row.key().to_owned()], task }),
        }
    }

    /// What the examples of a file with the SHA-256 `content` depend on: two encoders with the same fingerprint of the same file
    /// make the same examples.
    pub(crate) fn fingerprint(&self, content: &str) -> String {
        let parts = [
            content.to_owned(),
            format!("{:?}", self.options),
            self.tokenizer.map_or_else(String::new, Tokenizer::fingerprint),
            self.template.map_or_else(String::new, ChatTemplate::fingerprint),
        ];
        // Each with its length before it, so that no two lists have the same text.
        let text: String = parts.iter().map(|part| format!("{} {part}\n", part.len())).collect();
        sha256_hex(text.as_bytes())
    }

    /// Whether `row` makes one example, neither none nor several; `false` too where only its tokens tell.
    ///
    /// # Errors
    /// What is found wrong with the row on the way, as encoding it would.
    pub(crate) fn makes_one(&self, row: Row) -> Result<bool, DataError> {
        match row {
            // As cheap to encode as to look at.
            Row::Tokenized(_) => self.encode(row).map(|examples| !examples[0].example.input_ids.is_empty()),
            Row::Messages(conversation) if self.options.completion_only_loss => {
                let template = self.template.ok_or(DataError::NoChatTemplate)?;
                match template.render_turns(&conversation)?.as_slice() {
                    [Rendered { text, .. }] => self.has_tokens(text),
                    _ => Ok(false),
                }
            }
            Row::Messages(conversation) => {
                let template = self.template.ok_or(DataError::NoChatTemplate)?;
                self.has_tokens(&template.render(&conversation, false)?)
            }
            Row::Turns { conversation, prompt } => {
                let template = self.template.ok_or(DataError::NoChatTemplate)?;
                self.has_tokens(&template.render_completion(&conversation, prompt)?.text)
            }
            Row::Text { label, .. } if self.options.task == Task::SequenceClassification => {
                self.target(label, "text").and_then(|_| self.adds_tokens())
            }
            Row::Words { words, labels } => self.classes(words.len(), labels).and_then(|_| self.adds_tokens()),
            Row::Text { .. } | Row::Completion { .. } => self.adds_tokens(),
            Row::Image { .. } => Ok(false),
        }
    }

    /// Whether every text has a token at least, because some are added to it.
    fn adds_tokens(&self) -> Result<bool, DataError> {
        let tokenizer = self.tokenizer()?;
        let ends = self.options.task == Task::CausalLm && tokenizer.special_tokens().eos_token_id.is_some();
        Ok(ends || !tokenizer.encode("", true)?.is_empty())
    }

    /// Whether a text that a template rendered has a token: where its beginning has one.
    fn has_tokens(&self, text: &str) -> Result<bool, DataError> {
        const LOOKED_AT: usize = 64;
        let beginning: String = text.chars().take(LOOKED_AT).collect();
        Ok(!self.tokenizer()?.encode(&beginning, false)?.is_empty())
    }

    fn tokenizer(&self) -> Result<&Tokenizer, DataError> {
        self.tokenizer.ok_or(DataError::NeedsTokenizer)
    }

    /// Ends `ids` with the end-of-text token, unless they end with it or there is none.
    fn end(&self, ids: &mut Vec<u32>) -> Result<(), DataError> {
        if let Some(eos) = self.tokenizer()?.special_tokens().eos_token_id
            && ids.last() != Some(&eos)
        {
            ids.push(self.in_vocabulary(i64::from(eos))?);
        }
        Ok(())
    }

    /// An example of a causal model: tokens outside `supervised` are not trained on, and what is too long is cut.
    fn causal(&self, mut input_ids: Vec<u32>, supervised: impl IntoIterator<Item = std::ops::Range<usize>>) -> Encoded {
        let mut labels = vec![IGNORE_INDEX; input_ids.len()];
        for range in supervised {
            for i in range {
                labels[i] = i64::from(input_ids[i]);
            }
        }
        let truncated = input_ids.len() > self.options.max_length;
        input_ids.truncate(self.options.max_length);
        labels.truncate(self.options.max_length);
        Encoded { example: Example { input_ids, labels, ..Example::default() }, truncated, merged: false }
    }

    /// The adapter that a row names, taken out of it.
    ///
    /// # Errors
    /// [`DataError::Adapter`] for a name that is missing or unknown, [`DataError::NoAdapters`] where none have names.
    pub(crate) fn adapter(&self, object: &mut Map<String, Value>) -> Result<Option<u32>, DataError> {
        chosen_adapter(object, &self.options.adapters)
    }

    /// The parts of the text that tokens are in, as an example holds them: none where the model knows no parts, or all are in
    /// the first.
    fn token_types(&self, token_type_ids: Vec<u32>) -> Result<Vec<u32>, DataError> {
        let kinds = self.options.token_types;
        if kinds == 0 || token_type_ids.iter().all(|&part| part == 0) {
            return Ok(Vec::new());
        }
        match token_type_ids.iter().position(|&part| part as usize >= kinds) {
            None => Ok(token_type_ids),
            Some(index) => Err(DataError::Element {
                key: "token_type_ids",
                index,
                expected: format!("0 to {}, as the model's `type_vocab_size` says", kinds - 1),
                got: token_type_ids[index].to_string(),
            }),
        }
    }

    fn in_vocabulary(&self, id: i64) -> Result<u32, DataError> {
        match u32::try_from(id) {
            Ok(token) if (token as usize) < self.options.vocab_size => Ok(token),
            _ => Err(DataError::TokenOutOfRange { id, vocab_size: self.options.vocab_size }),
        }
    }
}

/// The place among `known` of the adapter that a row names, taken out of it; `None` where there are none to choose from, and the
/// row names none.
pub(crate) fn chosen_adapter(object: &mut Map<String, Value>, known: &[String]) -> Result<Option<u32>, DataError> {
    let name = match object.remove(ADAPTER).filter(|value| !value.is_null()) {
        None if known.is_empty() => return Ok(None),
        Some(_) if known.is_empty() => return Err(DataError::NoAdapters),
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(other) => return Err(DataError::WrongType { key: ADAPTER, expected: "a string", got: kind(&other) }),
    };
    match name.as_ref().and_then(|name| known.iter().position(|known| known == name)) {
        Some(index) => Ok(Some(index as u32)),
        None => Err(DataError::Adapter { name, known: known.to_vec() }),
    }
}

#[cfg(test)]
mod tests;
