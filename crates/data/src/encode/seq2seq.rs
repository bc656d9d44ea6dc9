//! `{"prompt", "completion"}` for an encoder and a decoder.

use super::{Encoded, Encoder};
use crate::{DataError, Example};

impl Encoder<'_> {
    /// Both texts get the post-processor's special tokens, as transformers' `tokenizer(text, text_target=...)` does, and
    /// each is cut at the maximum length. The decoder's labels end with the end-of-text token.
    pub(super) fn seq2seq(&self, prompt: &str, completion: &str) -> Result<Encoded, DataError> {
        let tokenizer = self.tokenizer()?;
        let (input_ids, prompt_cut) = tokenizer.encode_truncated(prompt, self.options.max_length)?;
        let (mut labels, completion_cut) = tokenizer.encode_truncated(completion, self.options.max_length)?;
        if !completion_cut {
            self.end(&mut labels)?;
            labels.truncate(self.options.max_length);
        }
        let labels = labels.into_iter().map(i64::from).collect();
        let example = Example { input_ids, labels, ..Example::default() };
        Ok(Encoded { example, truncated: prompt_cut || completion_cut, merged: false })
    }
}
