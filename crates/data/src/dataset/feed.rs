//! Rows that are encoded while the first of them are used.

mod growing;

use std::path::Path;
use std::sync::Arc;

use checkpoint::sha256_file;

use super::Dataset;
use super::cache::TokenCache;
use super::scan::Scanned;
use crate::encode::Encoder;
use crate::{Batch, ChatTemplate, DataError, DataOptions, Tokenizer};
use growing::Growing;

/// How the rows of a [`Feed`] are encoded: the arguments of [`Dataset::load`], owned.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// As there.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// As there.
    pub template: Option<Arc<ChatTemplate>>,
    /// As there.
    pub options: DataOptions,
}

impl FeedOptions {
    pub(super) fn encoder(&self) -> Encoder<'_> {
        let Self { tokenizer, template, options } = self;
        Encoder { tokenizer: tokenizer.as_deref(), template: template.as_deref(), options }
    }
}

/// The rows of a run: all of them encoded, or on their way into a [`TokenCache`].
///
/// While they are on their way, whoever asks for rows has these encoded at once. So nobody waits but in
/// [`finish`](Self::finish), and since an example is a
/// function of its row alone, the batches are those of the encoded dataset, whenever that is ready. How many examples there are
/// is found by reading every row without encoding it, some twenty times faster; where a row makes none or several (a conversation
/// that its template splits), or only tokens tell, all are encoded first.
///
/// What is wrong with a row is told with its line: before the first batch if it shows without tokens, else when it is asked for or
/// by the first call after it is found, and in any case by [`finish`](Self::finish), which alone tells the first of several.
#[derive(Debug)]
pub struct Feed {
    rows: Rows,
    fingerprint: String,
}

#[derive(Debug)]
enum Rows {
    Whole(Box<Dataset>),
    Growing(Box<Growing>),
}

impl Feed {
    /// Rows that are encoded.
    pub fn whole(dataset: Dataset) -> Self {
        let fingerprint = dataset.sha256();
        Self { rows: Rows::Whole(Box::new(dataset)), fingerprint }
    }

    /// The rows of the JSON Lines file `path`, all encoded before this returns: from `cache`, if there is one.
    ///
    /// # Errors
    /// Those of [`Dataset::load_cached`].
    pub fn load(path: &Path, how: &FeedOptions, cache: Option<&TokenCache>) -> Result<Self, DataError> {
        how.options.check()?;
        // What can be read only once has no content to be known by.
        if !path.is_file() {
            let Encoder { tokenizer, template, options } = how.encoder();
            return Ok(Self::whole(Dataset::load(path, tokenizer, template, options)?));
        }
        Self::of_content(path, &sha256_file(path)?, how, cache)
    }

    /// As [`load`](Self::load), where `content` is the SHA-256 of the file.
    fn of_content(
        path: &Path,
        content: &str,
        how: &FeedOptions,
        cache: Option<&TokenCache>,
    ) -> Result<Self, DataError> {
        let encoder = how.encoder();
        let dataset = match cache {
            Some(cache) => Dataset::of_content(path, content, &encoder, cache)?,
            None => Dataset::load(path, encoder.tokenizer, encoder.template, encoder.options)?,
        };
        Ok(Self { rows: Rows::Whole(Box::new(dataset)), fingerprint: encoder.fingerprint(content) })
    }

    /// As [`load`](Self::load) from a `cache`, but rows that it does not have are encoded beside whoever uses them, by half of the
    /// threads, where that is possible.
    ///
    /// # Errors
    /// Those of [`Dataset::load_cached`]; of rows, only what is found without encoding them.
    pub fn start(path: &Path, how: FeedOptions, cache: &TokenCache) -> Result<Self, DataError> {
        how.options.check()?;
        let content = sha256_file(path)?;
        let fingerprint = how.encoder().fingerprint(&content);
        if let Some(dataset) = cache.find(&content, &how.encoder()) {
            return Ok(Self { rows: Rows::Whole(Box::new(dataset)), fingerprint });
        }
        let scanned = if cache.is_writable() { Scanned::new(path, &how.encoder())? } else { None };
        match scanned {
            None => Self::of_content(path, &content, &how, Some(cache)),
            Some(scanned) => {
                let growing = Growing::start(scanned, how, content, cache)?;
                Ok(Self { rows: Rows::Growing(Box::new(growing)), fingerprint })
            }
        }
    }

    /// What the examples depend on: whether a run that is resumed has the rows that it began with. Of a file, its content and
    /// how it is encoded; of anything else, the examples.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How many examples there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one example")]
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Whole(dataset) => dataset.len(),
            Rows::Growing(growing) => growing.scanned.len(),
        }
    }

    /// All examples, if they are encoded by now. Does not wait.
    ///
    /// # Errors
    /// Those of [`finish`](Self::finish), where something is found by now.
    pub fn dataset(&self) -> Result<Option<&Dataset>, DataError> {
        match &self.rows {
            Rows::Whole(dataset) => Ok(Some(dataset)),
            Rows::Growing(growing) => growing.dataset(),
        }
    }

    /// The examples `indices` as a batch, the same whether all are encoded or not. Does not wait for others.
    ///
    /// # Errors
    /// Those of [`Batch::gather`] and of [`finish`](Self::finish), which tells whether another row comes before a bad one.
    ///
    /// # Panics
    /// As [`Batch::gather`].
    pub fn gather(&self, indices: &[usize]) -> Result<Batch, DataError> {
        match (&self.rows, self.dataset()?) {
            (Rows::Growing(growing), None) => {
                let Growing { scanned, how, .. } = growing.as_ref();
                Ok(Batch::from_examples(how.options.task, &scanned.encode(indices, &how.encoder())?))
            }
            _ => Batch::gather(self.finish()?, indices),
        }
    }

    /// What to tell where [`gather`](Self::gather) has told `error`: that of the first bad row of the file, whichever was asked for
    /// first. Waits for the rows before it.
    pub fn first_error(&self, error: DataError) -> DataError {
        match &self.rows {
            Rows::Growing(growing) if !growing.has_failed() => growing.finish().err().unwrap_or(error),
            _ => error,
        }
    }

    /// Whether some examples are on their way still.
    ///
    /// # Errors
    /// Those of [`dataset`](Self::dataset).
    pub fn is_growing(&self) -> Result<bool, DataError> {
        Ok(self.dataset()?.is_none())
    }

    /// Why examples that are on their way cannot be kept for the next run, if [`dataset`](Self::dataset) has found that:
    /// [`DataError::Cache`].
    pub fn unkept(&self) -> Option<&DataError> {
        match &self.rows {
            Rows::Whole(_) => None,
            Rows::Growing(growing) => growing.unkept(),
        }
    }

    /// Up to `count` examples that are longest: in tokens, or in bytes while tokens are not known.
    ///
    /// # Errors
    /// Those of [`dataset`](Self::dataset).
    pub fn longest(&self, count: usize) -> Result<Vec<usize>, DataError> {
        let lengths: Vec<usize> = match (&self.rows, self.dataset()?) {
            (Rows::Growing(growing), None) => growing.scanned.bytes().collect(),
            _ => self.finish()?.lengths().collect(),
        };
        let mut longest: Vec<usize> = (0..lengths.len()).collect();
        longest.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
        longest.truncate(count);
        Ok(longest)
    }

    /// Bytes of memory that the examples take, or while they are on their way what is known of them; none of those in files.
    pub fn bytes_in_memory(&self) -> u64 {
        match &self.rows {
            Rows::Whole(dataset) => dataset.bytes_in_memory(),
            Rows::Growing(growing) => growing.scanned.bytes_in_memory(),
        }
    }

    /// All examples, once they are encoded.
    ///
    /// # Errors
    /// [`DataError::Row`] for the first bad line, [`DataError::NothingSupervised`], [`DataError::Cache`] if they cannot be written,
    /// [`DataError::Changed`] if the file changed meanwhile, [`DataError::Miscounted`] if a row made no or several examples after
    /// all.
    pub fn finish(&self) -> Result<&Dataset, DataError> {
        match &self.rows {
            Rows::Whole(dataset) => Ok(dataset),
            Rows::Growing(growing) => growing.finish(),
        }
    }
}
