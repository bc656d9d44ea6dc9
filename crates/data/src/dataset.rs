//! All rows of a file, encoded.

mod builder;
mod cache;
mod column;
mod columns;
mod feed;
mod images;
mod scan;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::OnceLock;

use checkpoint::{hexdigest, sha256_file};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::encode::{Encoded, Encoder};
use crate::lines::{Line, Lines};
use crate::{ChatTemplate, DataError, DataOptions, Example, ImageOptions, Row, Statistics, Task, Tokenizer};
use builder::Builder;
pub use cache::TokenCache;
use columns::{Columns, GrowingColumns};
pub use feed::{Feed, FeedOptions};
use images::Images;

/// The examples of a file, in its order: in memory, or mapped from a [`TokenCache`].
#[derive(Clone, Debug)]
pub struct Dataset {
    task: Task,
    columns: Columns,
    /// The files of examples that are images.
    images: Option<Images>,
    statistics: Statistics,
    /// See [`sha256`](Self::sha256).
    digest: OnceLock<String>,
}

impl Dataset {
    fn new(task: Task, columns: Columns, statistics: Statistics) -> Self {
        Self { task, columns, images: None, statistics, digest: OnceLock::new() }
    }

    /// Reads and encodes the JSON Lines file `path`. Rows are encoded in parallel; their order, the examples and the first
    /// error are those of the file.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Row`] for the first bad line, [`DataError::NoRows`] and
    /// [`DataError::NothingSupervised`].
    pub fn load(
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
        options: &DataOptions,
    ) -> Result<Self, DataError> {
        Self::read(reader(path)?, path, tokenizer, template, options)
    }

    /// As [`load`](Self::load), the examples mapped from `cache`. A file that it has no entry for is encoded into it first,
    /// a block at a time; where `cache` may not be written to, into memory.
    ///
    /// # Errors
    /// Those of [`load`](Self::load); [`DataError::Cache`] if an entry cannot be written, [`DataError::Changed`] if the
    /// file changed while it was read.
    pub fn load_cached(
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
        options: &DataOptions,
        cache: &TokenCache,
    ) -> Result<Self, DataError> {
        options.check()?;
        Self::of_content(path, &sha256_file(path)?, &Encoder { tokenizer, template, options }, cache)
    }

    /// As [`load_cached`](Self::load_cached), where `content` is the SHA-256 of the file.
    fn of_content(path: &Path, content: &str, encoder: &Encoder<'_>, cache: &TokenCache) -> Result<Self, DataError> {
        match cache.load(path, content, encoder)? {
            Some(dataset) => Ok(dataset),
            None => Self::load(path, encoder.tokenizer, encoder.template, encoder.options),
        }
    }

    /// As [`load`](Self::load), from any reader; `path` names it in errors.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn read(
        reader: impl BufRead,
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
        options: &DataOptions,
    ) -> Result<Self, DataError> {
        options.check()?;
        let encoder = Encoder { tokenizer, template, options };
        let mut builder = Builder::new(&encoder, GrowingColumns::in_memory());
        encode_lines(reader, path, &encoder, &mut builder, |_| Ok(true))?;
        builder.finish(path)
    }

    /// The images of `path`, one example each: a folder with a folder of PNG and JPEG files for each class, or a JSON Lines
    /// file of `{"image", "label"}`, paths in which are relative to its own. Headers are checked here; pixels are decoded
    /// whenever a batch is made, so that no more than a batch of them is in memory. For
    /// [`Task::FeatureExtraction`] labels are not looked at.
    ///
    /// # Errors
    /// Those of [`load`](Self::load); [`DataError::Image`] for a file that is none; [`DataError::Class`] for a folder that is
    /// no class of the model, [`DataError::EmptyClass`], [`DataError::NoClasses`].
    pub fn load_images(path: &Path, options: &DataOptions, image: &ImageOptions) -> Result<Self, DataError> {
        images::load(path, options, image)
    }

    /// The pixel values of the image that is example `index`, `[3, height, width]`; `None` if it is no image.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Image`] for a file that is broken.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn pixel_values(&self, index: usize) -> Result<Option<Vec<f32>>, DataError> {
        self.images.as_ref().map(|images| images.pixel_values(index)).transpose()
    }

    /// Tokens that the model makes of an image; 0 if examples are no images.
    pub fn image_tokens(&self) -> usize {
        self.images.as_ref().map_or(0, Images::num_tokens)
    }

    /// Gives the memory of what was read of mapped examples back to the system, which maps pages around what is read: after a while
    /// those of the whole file.
    pub(crate) fn release(&self) {
        self.columns.release();
    }

    /// What the examples are for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// How many examples there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a dataset has at least one example")]
    pub fn len(&self) -> usize {
        self.columns.lines.len()
    }

    /// The token ids of example `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn input_ids(&self, index: usize) -> &[u32] {
        Columns::part(&self.columns.input_ids, &self.columns.starts, index)
    }

    /// The labels of example `index`; see [`Example`].
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn labels(&self, index: usize) -> &[i32] {
        Columns::part(&self.columns.labels, &self.columns.label_starts, index)
    }

    /// The number that example `index` of a regression is to predict.
    pub fn value(&self, index: usize) -> Option<f32> {
        self.columns.values.get(index).copied()
    }

    /// The part of the text that each token of example `index` is in; empty where all are in the first.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn token_type_ids(&self, index: usize) -> &[u32] {
        if self.columns.token_type_ids.is_empty() {
            return &[];
        }
        Columns::part(&self.columns.token_type_ids, &self.columns.starts, index)
    }

    /// The adapter that the row of example `index` chose, by its place in [`DataOptions::adapters`].
    pub fn adapter(&self, index: usize) -> Option<u32> {
        self.columns.adapters.get(index).copied()
    }

    /// A copy of example `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn example(&self, index: usize) -> Example {
        let labels = self.labels(index).iter().map(|&label| i64::from(label)).collect();
        Example {
            input_ids: self.input_ids(index).to_vec(),
            labels,
            values: self.value(index).into_iter().collect(),
            token_type_ids: self.token_type_ids(index).to_vec(),
            adapter: self.adapter(index),
        }
    }

    /// The tokens of each example; of an encoder's and a decoder's the more.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.len()).map(|index| match self.task {
            Task::Seq2SeqLm => self.input_ids(index).len().max(self.labels(index).len()),
            _ if self.images.is_some() => self.image_tokens(),
            _ => self.input_ids(index).len(),
        })
    }

    /// The line that example `index` came from, from 1.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn line(&self, index: usize) -> usize {
        self.columns.lines[index] as usize
    }

    /// Bytes of memory that the examples take, none of those in files.
    pub fn bytes_in_memory(&self) -> u64 {
        self.columns.bytes_in_memory() as u64
    }

    /// What became of the rows.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// A digest of all examples: whether a run that is resumed has the rows that it began with.
    pub fn sha256(&self) -> String {
        let digest = || {
            let mut hasher = Sha256::new();
            hasher.update(self.task.as_str());
            self.columns.hash(&mut hasher);
            self.images.iter().for_each(|images| hasher.update(images.digests()));
            hexdigest(hasher)
        };
        self.digest.get_or_init(digest).clone()
    }
}

fn reader(path: &Path) -> Result<BufReader<File>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

/// Encodes the lines of `reader` into `builder`. Those of a block are encoded at once; after each, `end_of_block` says whether to go
/// on. Returns whether the last line was reached.
fn encode_lines(
    reader: impl BufRead,
    path: &Path,
    encoder: &Encoder<'_>,
    builder: &mut Builder<'_>,
    mut end_of_block: impl FnMut(&mut GrowingColumns) -> Result<bool, DataError>,
) -> Result<bool, DataError> {
    let mut lines = Lines::new(reader, path, encoder.options.max_line_bytes);
    loop {
        let block = lines.block()?;
        if block.is_empty() {
            return Ok(true);
        }
        let rows: Vec<_> = block.par_iter().map(|line| encode_line(line, encoder)).collect();
        for (line, encoded) in block.iter().zip(rows) {
            builder.push(line.number, encoded.map_err(|error| at(path, line.number, error))?);
        }
        if !end_of_block(&mut builder.columns)? {
            return Ok(false);
        }
    }
}

/// The examples of one line.
fn encode_line(line: &Line, encoder: &Encoder<'_>) -> Result<Vec<Encoded>, DataError> {
    let (row, adapter) = row_of(line, encoder)?;
    let mut encoded = encoder.encode(row)?;
    encoded.iter_mut().for_each(|encoded| encoded.example.adapter = adapter);
    Ok(encoded)
}

/// The row on a line, and the adapter that it chose.
fn row_of(line: &Line, encoder: &Encoder<'_>) -> Result<(Row, Option<u32>), DataError> {
    let mut object = line.object()?;
    let adapter = encoder.adapter(&mut object)?;
    Ok((Row::from_object(object, encoder.options.task)?, adapter))
}

fn at(path: &Path, line: usize, source: DataError) -> DataError {
    DataError::Row { path: path.to_owned(), line, source: Box::new(source) }
}

#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod tests;
