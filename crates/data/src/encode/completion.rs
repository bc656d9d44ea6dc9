//! `{"prompt", "completion"}` for a causal model: the completion is trained on.

use super::{Encoded, Encoder};
use crate::DataError;

impl Encoder<'_> {
    /// Prompt and completion are encoded as one text, as TRL does, with the end-of-text token after it. The first token
    /// that reaches beyond the prompt is the first that is trained on. That token may have begun within the prompt, mostly
    /// because a blank stands at the prompt's end and not at the completion's beginning; a model that is later prompted
    /// with the prompt alone has not seen it end so, therefore such rows are counted.
    pub(super) fn completion(&self, prompt: String, completion: &str) -> Result<Encoded, DataError> {
        let boundary = prompt.len();
        let mut encoded = self.tokenizer()?.encode_with_offsets(&(prompt + completion), true)?;
        let first = encoded.offsets.iter().position(|token| token.end > boundary).unwrap_or(encoded.ids.len());
        // A leading blank may be missing from a token's range, so the end of the token before is looked at as well.
        let merged = encoded.offsets.get(first).is_some_and(|token| {
            let covered = encoded.offsets[..first].iter().map(|token| token.end).max().unwrap_or(0);
            token.start < boundary || covered < boundary
        });
        self.end(&mut encoded.ids)?;
        let supervised =
            if self.options.completion_only_loss { first..encoded.ids.len() } else { 0..encoded.ids.len() };
        Ok(Encoded { merged, ..self.causal(encoded.ids, [supervised]) })
    }
}
