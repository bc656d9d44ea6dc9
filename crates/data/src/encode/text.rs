//! `{"text"}` for a causal model: every token is trained on.

use super::{Encoded, Encoder};
use crate::DataError;

impl Encoder<'_> {
    /// The text with the post-processor's special tokens, and the end-of-text token after it.
    pub(super) fn text(&self, text: &str) -> Result<Encoded, DataError> {
        let mut ids = self.tokenizer()?.encode(text, true)?;
        self.end(&mut ids)?;
        let all = 0..ids.len();
        Ok(self.causal(ids, [all]))
    }
}
