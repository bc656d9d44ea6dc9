//! `{"tokens", "tags"}` for a classifier of tokens: words, each with its class.

use super::{Encoded, Encoder};
use crate::row::Label;
use crate::{DataError, Example, IGNORE_INDEX};

impl Encoder<'_> {
    /// The words one after another with the post-processor's special tokens. As in transformers' example of token
    /// classification the first token of a word has its class, and the others, like special tokens, are not trained on.
    pub(super) fn words(&self, words: &[String], labels: Vec<Label>) -> Result<Encoded, DataError> {
        let classes = self.classes(words.len(), labels)?;
        let cut = self.tokenizer()?.encode_words(words, self.options.max_length)?;
        let mut before = None;
        let labels = cut.words.iter().map(|&word| {
            let is_first = word != before;
            before = word;
            word.filter(|_| is_first).and_then(|word| classes.get(word as usize).copied()).unwrap_or(IGNORE_INDEX)
        });
        let labels = labels.collect();
        let token_type_ids = self.token_types(cut.token_type_ids)?;
        let example = Example { input_ids: cut.ids, labels, token_type_ids, ..Example::default() };
        Ok(Encoded { example, truncated: cut.truncated, merged: false })
    }
    /// The classes of `words` words.
    pub(super) fn classes(&self, words: usize, labels: Vec<Label>) -> Result<Vec<i64>, DataError> {
        if labels.len() != words {
            return Err(DataError::Tags { words, tags: labels.len() });
        }
        let class = |label| match label {
            Label::Id(IGNORE_INDEX) => Ok(IGNORE_INDEX),
            label => self.class(Some(label), "tokens"),
        };
        labels.into_iter().map(class).collect()
    }
}
