//! Text to token ids and back.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use checkpoint::{read_text, sha256_hex};
use tokenizers::{Encoding, PostProcessor, PreTokenizerWrapper, TruncationParams, truncate_encodings};

use crate::guard::guarded;
use crate::{DataError, SpecialTokens, TextStream};

/// The largest `tokenizer.json` of a known model holds 34 MB.
const TOKENIZER_LIMIT: u64 = 64 << 20;

/// A tokenizer of a model directory, with its special tokens.
///
/// A raw text is encoded with the special tokens that `tokenizer.json`'s post-processor adds, which is what transformers'
/// `tokenizer(text)` does. A text that a chat template rendered has its special tokens spelled out and gets no others.
/// Truncation and padding settings in `tokenizer.json` have no effect, as in transformers.
///
/// The file comes from a stranger, and the library behind may panic on a crafted one: every call into it is guarded, and
/// a panic is an error that names the file.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// `inner` for words that were told apart before; made when there are some.
    of_words: OnceLock<tokenizers::Tokenizer>,
    special_tokens: SpecialTokens,
    vocab_size: usize,
    path: PathBuf,
    /// Of the file's content.
    sha256: String,
}

/// Token ids, and the bytes of the text that each covers. A token that stands for no text has an empty range at 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct WithOffsets {
    pub(crate) ids: Vec<u32>,
    pub(crate) offsets: Vec<Range<usize>>,
}

/// Token ids of a text cut to a length, with what is known of each token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub(crate) ids: Vec<u32>,
    /// The part of the text that it is in.
    pub(crate) token_type_ids: Vec<u32>,
    /// The word that it is of; none for a special token.
    pub(crate) words: Vec<Option<u32>>,
    pub(crate) truncated: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of the model directory `dir` and the configurations beside it, and encodes and decodes one
    /// word to see that it works. `vocab_size` is the model's: the rows of its embedding.
    ///
    /// # Errors
    /// [`DataError::NoTokenizer`]; [`DataError::File`] if it is too large or not to be read; [`DataError::Tokenizer`] if
    /// it is broken; [`DataError::Vocabulary`] if it has more tokens than the model; those of [`SpecialTokens::load`].
    pub fn load(dir: &Path, vocab_size: usize) -> Result<Self, DataError> {
        let path = dir.join("tokenizer.json");
        if !path.exists() {
            return Err(DataError::NoTokenizer { dir: dir.to_owned() });
        }
        let text = read_text(&path, TOKENIZER_LIMIT)?;
        let broken = |reason: String| DataError::Tokenizer { path: path.clone(), reason };
        let mut inner = guarded(|| text.parse::<tokenizers::Tokenizer>().map_err(|error| error.to_string()))
            .and_then(|loaded| loaded)
            .map_err(&broken)?;
        inner.with_truncation(None).map_err(|error| broken(error.to_string()))?;
        inner.with_padding(None);
        // Added tokens may lie beyond the embedding in published models (placeholders of other modalities); an id is
        // checked where it is used.
        let tokens = inner.get_vocab_size(false);
        if tokens > vocab_size {
            return Err(DataError::Vocabulary { path, tokens, vocab_size });
        }
        let special_tokens = SpecialTokens::load(dir, |token| inner.token_to_id(token))?;
        let sha256 = sha256_hex(text.as_bytes());
        let tokenizer = Self { inner, of_words: OnceLock::new(), special_tokens, vocab_size, path, sha256 };
        let probe = tokenizer.raw("hello", true)?;
        tokenizer.decode(probe.get_ids(), false)?;
        Ok(tokenizer)
    }

    /// The special tokens.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special_tokens
    }

    /// What the ids of a text depend on: two tokenizers with the same fingerprint encode alike.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{} {:?} {}", self.sha256, self.special_tokens, self.vocab_size)
    }

    /// The ids of `text`, with the special tokens of the post-processor if `add_special_tokens`.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the tokenizer fails, [`DataError::TokenOutOfRange`] for an id that the model lacks.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, DataError> {
        let encoding = self.guard(|| self.inner.encode_fast(text, add_special_tokens))?;
        self.checked(encoding.get_ids().to_vec())
    }

    /// As [`encode`](Self::encode), cut to `max_length` as transformers' `truncation=True` does: the text is shortened, the
    /// special tokens around it stay. Also returns whether anything was cut.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn encode_truncated(&self, text: &str, max_length: usize) -> Result<(Vec<u32>, bool), DataError> {
        let cut = self.encode_pair(text, None, max_length)?;
        Ok((cut.ids, cut.truncated))
    }

    /// The same of a text and perhaps a second one, of which the longer is cut first.
    pub(crate) fn encode_pair(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Cut, DataError> {
        let first = self.guard(|| self.inner.encode_fast(text, false))?;
        let second = pair.map(|pair| self.guard(|| self.inner.encode_fast(pair, false))).transpose()?;
        // What a post-processor that does not tell parts apart leaves as it is.
        let second = second.map(|mut second| {
            second.set_type_ids(vec![1; second.len()]);
            second
        });
        self.cut(first, second, max_length)
    }

    /// The same of words that were told apart before. Where the pre-tokenizer is `ByteLevel` a space is put before each, if
    /// it has none: `Ġword` is a word of such a vocabulary, `word` the end of another. transformers' `run_ner.py` asks for
    /// that as `add_prefix_space=True`.
    pub(crate) fn encode_words(&self, words: &[String], max_length: usize) -> Result<Cut, DataError> {
        let inner = self.of_words.get_or_init(|| with_prefix_space(&self.inner));
        let encoding = self.guard(|| inner.encode(words, false))?;
        self.cut(encoding, None, max_length)
    }

    fn cut(&self, first: Encoding, second: Option<Encoding>, max_length: usize) -> Result<Cut, DataError> {
        let processor = self.inner.get_post_processor();
        let added = processor.map_or(0, |processor| processor.added_tokens(second.is_some()));
        let room = max_length.saturating_sub(added);
        let truncated = first.len() + second.as_ref().map_or(0, Encoding::len) > room;
        let encoding = self.guard(|| {
            let (mut first, mut second) = (first, second);
            if truncated {
                let params = TruncationParams { max_length: room, ..TruncationParams::default() };
                (first, second) = truncate_encodings(first, second, &params)?;
                // What was cut off is kept as further windows, which would be processed too.
                first.take_overflowing();
                second.iter_mut().for_each(|second| drop(second.take_overflowing()));
            }
            self.inner.post_process(first, second, true)
        })?;
        let mut cut = Cut {
            ids: self.checked(encoding.get_ids().to_vec())?,
            token_type_ids: encoding.get_type_ids().to_vec(),
            words: encoding.get_word_ids().to_vec(),
            truncated,
        };
        cut.ids.truncate(max_length);
        cut.token_type_ids.truncate(max_length);
        cut.words.truncate(max_length);
        Ok(cut)
    }

    /// As [`encode`](Self::encode), with the bytes that each token covers.
    pub(crate) fn encode_with_offsets(&self, text: &str, add_special_tokens: bool) -> Result<WithOffsets, DataError> {
        let encoding = self.raw(text, add_special_tokens)?;
        let offsets = encoding.get_offsets().iter().map(|&(start, end)| start..end).collect();
        Ok(WithOffsets { ids: self.checked(encoding.get_ids().to_vec())?, offsets })
    }

    /// The text of `ids`.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the tokenizer fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, DataError> {
        self.guard(|| self.inner.decode(ids, skip_special_tokens))
    }

    /// Decodes token by token.
    pub fn stream(&self, skip_special_tokens: bool) -> TextStream<'_> {
        TextStream::new(self, skip_special_tokens)
    }

    /// The id of the token that is spelled `token`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn raw(&self, text: &str, add_special_tokens: bool) -> Result<Encoding, DataError> {
        self.guard(|| self.inner.encode(text, add_special_tokens))
    }

    fn guard<T>(&self, body: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, DataError> {
        guarded(|| body().map_err(|error| error.to_string()))
            .and_then(|result| result)
            .map_err(|reason| DataError::Tokenizer { path: self.path.clone(), reason })
    }

    fn checked(&self, ids: Vec<u32>) -> Result<Vec<u32>, DataError> {
        match ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            None => Ok(ids),
            Some(&id) => Err(DataError::TokenOutOfRange { id: i64::from(id), vocab_size: self.vocab_size }),
        }
    }
}

/// `tokenizer` with `add_prefix_space`, if its pre-tokenizer is `ByteLevel`.
fn with_prefix_space(tokenizer: &tokenizers::Tokenizer) -> tokenizers::Tokenizer {
    let mut tokenizer = tokenizer.clone();
    if let Some(PreTokenizerWrapper::ByteLevel(bytes)) = tokenizer.get_pre_tokenizer() {
        let bytes = bytes.add_prefix_space(true);
        tokenizer.with_pre_tokenizer(Some(bytes));
    }
    tokenizer
}

/// The ids that the tokenizer `text`, the content of the file `path`, has for `tokens`: for a file that is to be written.
///
/// # Errors
/// [`DataError::Tokenizer`] if it is broken.
pub fn token_ids(path: &Path, text: &str, tokens: &[String]) -> Result<Vec<Option<u32>>, DataError> {
    let tokenizer = guarded(|| text.parse::<tokenizers::Tokenizer>().map_err(|error| error.to_string()))
        .and_then(|loaded| loaded)
        .map_err(|reason| DataError::Tokenizer { path: path.to_owned(), reason })?;
    Ok(tokens.iter().map(|token| tokenizer.token_to_id(token)).collect())
}

#[cfg(test)]
mod tests;
