//! Rows to examples.

mod classification;
mod completion;
mod messages;
mod seq2seq;
mod text;
mod tokenized;

use crate::row::Row;
use crate::{ChatTemplate, DataError, DataOptions, Example, IGNORE_INDEX, Task, Tokenizer};

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
            (_, Row::Tokenized { input_ids, labels, label, attention_mask }) => {
                one(self.tokenized(input_ids, labels, label, attention_mask)?)
            }
            (Task::CausalLm, Row::Text { text, .. }) => one(self.text(&text)?),
            (Task::CausalLm, Row::Completion { prompt, completion }) => one(self.completion(prompt, &completion)?),
            (Task::CausalLm, Row::Messages(conversation)) => self.messages(&conversation),
            (Task::CausalLm, Row::Turns { conversation, prompt }) => one(self.turns(&conversation, prompt)?),
            (Task::SequenceClassification, Row::Text { text, label }) => one(self.classified(&text, label)?),
            (Task::FeatureExtraction, Row::Text { text, .. }) => one(self.embedded(&text)?),
            (Task::Seq2SeqLm, Row::Completion { prompt, completion }) => one(self.seq2seq(&prompt, &completion)?),
            (task, row) => Err(DataError::UnknownRow { keys: vec![row.key().to_owned()], task }),
        }
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
        Encoded { example: Example { input_ids, labels, values: Vec::new() }, truncated, merged: false }
    }

    fn in_vocabulary(&self, id: i64) -> Result<u32, DataError> {
        match u32::try_from(id) {
            Ok(token) if (token as usize) < self.options.vocab_size => Ok(token),
            _ => Err(DataError::TokenOutOfRange { id, vocab_size: self.options.vocab_size }),
        }
    }
}

#[cfg(test)]
mod tests;
