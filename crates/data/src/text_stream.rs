//! Text as its tokens arrive.

use crate::{DataError, Tokenizer};

/// Decodes one token after the other, and holds text back while its last character is not complete.
///
/// One character may take several tokens (byte-level vocabularies), and a token's text may depend on the one before it (a
/// leading space that only the first token of a text loses). So the tail is decoded together with the tokens shown last,
/// and only what goes beyond their text is new.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// Tokens shown last, then those held back.
    ids: Vec<u32>,
    /// How many of `ids` have been shown.
    shown: usize,
}

impl<'a> TextStream<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, skip_special_tokens: bool) -> Self {
        Self { tokenizer, skip_special_tokens, ids: Vec::new(), shown: 0 }
    }

    /// The text that `id` makes certain; empty while a character is incomplete.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the tokenizer cannot decode.
    pub fn push(&mut self, id: u32) -> Result<String, DataError> {
        self.ids.push(id);
        let new = self.unseen()?;
        if new.is_empty() || new.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.ids.drain(..self.shown);
        self.shown = self.ids.len();
        Ok(new)
    }

    /// What was held back, incomplete characters as U+FFFD.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the tokenizer cannot decode.
    pub fn finish(self) -> Result<String, DataError> {
        self.unseen()
    }

    /// The text of `ids` beyond that of the tokens already shown.
    fn unseen(&self) -> Result<String, DataError> {
        let shown = self.tokenizer.decode(&self.ids[..self.shown], self.skip_special_tokens)?;
        let all = self.tokenizer.decode(&self.ids, self.skip_special_tokens)?;
        Ok(all.strip_prefix(&shown).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::Tokenizer;
    use crate::testing::{FIRST_BYTE, byte_tokenizer, write_tokenizer};

    #[test]
    fn a_character_of_four_tokens_appears_with_its_last() {
        let (_dir, tokenizer) = byte_tokenizer();
        let mut stream = tokenizer.stream(true);
        let ids = tokenizer.encode("a\u{1f600}b", false).unwrap();
        let shown: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        assert_eq!(shown, ["a", "", "", "", "\u{1f600}", "b"]);
        assert_eq!(stream.finish().unwrap(), "");
        let mut cut = tokenizer.stream(true);
        assert_eq!(cut.push(ids[1]).unwrap(), "");
        assert_eq!(cut.finish().unwrap(), "\u{fffd}");
    }

    #[test]
    fn the_blank_that_only_the_first_word_loses_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let metaspace =
            json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": metaspace, "post_processor": null, "decoder": metaspace,
            "model": {"type": "WordLevel", "vocab": {"\u{2581}hello": 0, "\u{2581}world": 1, "?": 2}, "unk_token": "?"},
        });
        write_tokenizer(dir.path(), &tokenizer, &json!({}));
        let tokenizer = Tokenizer::load(dir.path(), 3).unwrap();
        let mut stream = tokenizer.stream(true);
        assert_eq!([0, 1, 2, 0].map(|id| stream.push(id).unwrap()), ["hello", " world", "?", " hello"]);
    }

    proptest! {
        #[test]
        fn the_pieces_make_up_the_text(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let (_dir, tokenizer) = byte_tokenizer();
            // One token stands for each byte, in another order: any sequence of bytes, valid UTF-8 or not.
            let ids: Vec<u32> = bytes.iter().map(|&b| FIRST_BYTE + u32::from(b)).collect();
            let mut stream = tokenizer.stream(true);
            let mut text = String::new();
            for &id in &ids {
                text += &stream.push(id).unwrap();
            }
            text += &stream.finish().unwrap();
            prop_assert_eq!(text, tokenizer.decode(&ids, true).unwrap());
        }
    }
}
